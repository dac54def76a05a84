"""What does `imagen evaluate unclip` take? A base, what makes it draw embeddings, their CLIP, and perhaps a prior."""

from __future__ import annotations

import argparse
import json

from .options import add_dtype, default_models_dir, device_there, file_there, folder, folder_there, positive


def add_unclip_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser(
        "unclip", help="how well does a base draw embeddings: reconstructed, varied, mixed, moved by words, of a prior?"
    )
    models = default_models_dir()
    add = command.add_argument
    add("--base", type=file_there, default=models / "things64.safetensors", help="the base's checkpoint")
    add("--image-prompt", type=file_there, default=models / "image_prompt.safetensors", help="trained with --clip")
    add("--clip", type=folder, default=models / "clip", help="that CLIP: folder or .safetensors")
    add("--prior", type=file_there, help="a prior in its space: what is drawn of captions by way of it?")
    add("--models-dir", type=folder_there, default=models, help="folder with the base's text encoder")
    add("--count", type=positive, default=128, help="pictures a row (default: %(default)s)")
    add("--tier", type=int, default=2, help="things up to this tier of the list (default: %(default)s)")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_unclip)


def _evaluate_unclip(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_unclip import evaluate_unclip

    torch.set_num_threads(args.threads)
    figures = evaluate_unclip(
        args.base,
        args.image_prompt,
        args.clip,
        args.models_dir,
        prior=args.prior,
        count=args.count,
        tier=args.tier,
        settings=SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype),
        device=args.device,
    )
    print(json.dumps(figures, indent=1))
    return 0
