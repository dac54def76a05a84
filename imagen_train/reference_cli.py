"""What does `imagen evaluate reference` take? A stage that enlarges, and what takes texture from references for it."""

from __future__ import annotations

import argparse
import json

from .options import (
    add_dtype,
    default_models_dir,
    default_state_root,
    device_there,
    file_there,
    folder,
    folder_there,
    positive,
)


def add_reference_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser(
        "reference", help="does a reference help a stage that enlarges, more than none and than a wrong one?"
    )
    models = default_models_dir()
    add = command.add_argument
    add("--base", type=file_there, default=models / "sr256.safetensors", help="the stage's checkpoint")
    add("--reference", type=file_there, required=True, help="what imagen train reference made")
    add("--models-dir", type=folder_there, default=models, help="folder with classifier.safetensors")
    add("--pictures", help="whose crops are enlarged (default: the stage's own, held out)")
    add("--cache-dir", type=folder, help="where pictures are kept between runs")
    add("--count", type=positive, default=64, help="crops a row (default: %(default)s)")
    add("--side", type=int, default=96, help="of a crop, in pixels, a multiple of 16 (default: %(default)s)")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--aug-level", type=float, help="noise put on the small picture; default: the checkpoint's own")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_reference)


def _evaluate_reference(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_reference import evaluate_reference

    torch.set_num_threads(args.threads)
    figures = evaluate_reference(
        args.base,
        args.reference,
        args.models_dir,
        args.cache_dir or default_state_root() / "cache",
        pictures=args.pictures,
        count=args.count,
        side=args.side,
        settings=SamplingSettings(steps=args.steps, aug_level=args.aug_level, dtype=args.dtype),
        device=args.device,
    )
    print(json.dumps(figures, indent=1))
    return 0
