"""What does `imagen evaluate image_prompt` take? A base, and what makes it draw references."""

from __future__ import annotations

import argparse
import json

from .options import add_dtype, default_models_dir, device_there, file_there, folder, folder_there, positive


def add_image_prompt_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser(
        "image_prompt",
        help="does a base draw what a reference shows: without words, beside them, and two, each in its half?",
    )
    models = default_models_dir()
    add = command.add_argument
    add("--base", type=file_there, default=models / "things64.safetensors", help="the base's checkpoint")
    add(
        "--image-prompt",
        type=file_there,
        default=models / "image_prompt.safetensors",
        help="what imagen train image_prompt made",
    )
    add("--models-dir", type=folder_there, default=models, help="folder with the base's text encoder")
    add("--count", type=positive, default=128, help="pictures a row (default: %(default)s)")
    add("--pairs", type=positive, default=64, help="pictures a row of two references (default: %(default)s)")
    add("--tier", type=int, default=2, help="things up to this tier of the list (default: %(default)s)")
    add("--weights", type=float, nargs="+", default=[0.5, 0.8, 1.0], help="beside words (default: 0.5 0.8 1)")
    add("--unseen-colors", action="store_true", help="in colours that training never shows on their things")
    add("--pictures", type=folder, help="write the first eight pictures of every row as one PNG")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_image_prompt)


def _evaluate_image_prompt(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_image_prompt import evaluate_image_prompt

    torch.set_num_threads(args.threads)
    figures = evaluate_image_prompt(
        args.base,
        args.image_prompt,
        args.models_dir,
        count=args.count,
        pairs=args.pairs,
        tier=args.tier,
        weights=args.weights,
        held_out=args.unseen_colors,
        settings=SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype),
        device=args.device,
        pictures_out=args.pictures,
    )
    print(json.dumps(figures, indent=1))
    return 0
