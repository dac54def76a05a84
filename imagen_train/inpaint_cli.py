"""What does `imagen evaluate inpaint` take on the command line? (Heavy imports wait.)"""

from __future__ import annotations

import argparse
import json

from .options import add_dtype, default_models_dir, file_there, folder, folder_there, positive


def add_inpaint_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser("inpaint", help="how well is a hole filled, beside RePaint at equal calls?")
    add = command.add_argument
    add("--model", type=file_there, required=True, help="the checkpoint that repaints")
    add("--base", type=file_there, required=True, help="the base that RePaint is run on")
    add("--models-dir", type=folder_there, default=default_models_dir(), help="folder with things_text_encoder/")
    add("--count", type=positive, default=128, help="pictures of each hole (default: %(default)s)")
    add("--tier", type=int, default=2, help="things up to this tier of the list (default: %(default)s)")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, default=40, help="network calls a picture (default: %(default)s)")
    add("--pictures", type=folder, help="write the first eight of each as PNGs, one a hole")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_inpaint import evaluate_inpaint

    torch.set_num_threads(args.threads)
    settings = SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype)
    asked = {"count": args.count, "tier": args.tier, "settings": settings, "pictures_out": args.pictures}
    print(json.dumps(evaluate_inpaint(args.model, args.base, args.models_dir, **asked), indent=1))
    return 0
