"""What does `imagen evaluate identity` take? A base, and what makes it draw individuals."""

from __future__ import annotations

import argparse
import json

from .options import add_dtype, default_models_dir, device_there, file_there, folder, folder_there, positive


def add_identity_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser(
        "identity",
        help="does a base draw individuals that words cannot name, where key points say, before what words say?",
    )
    models = default_models_dir()
    add = command.add_argument
    add("--base", type=file_there, default=models / "things64.safetensors", help="the base's checkpoint")
    add("--identity", type=file_there, default=models / "identity.safetensors", help="what imagen train identity made")
    add("--models-dir", type=folder_there, default=models, help="folder with the base's text encoder")
    add("--code", type=file_there, help="an identity_code.safetensors of another seed: are codes alike by it, too?")
    add("--count", type=positive, default=64, help="individuals (default: %(default)s)")
    add("--scenes", type=int, default=2, help="pictures of each, in each way (default: %(default)s)")
    add("--pictures", type=folder, help="write the first eight individuals' pictures as one PNG")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_identity)


def _evaluate_identity(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_identity import evaluate_identity

    torch.set_num_threads(args.threads)
    figures = evaluate_identity(
        args.base,
        args.identity,
        args.models_dir,
        code=args.code,
        count=args.count,
        scenes=args.scenes,
        settings=SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype),
        device=args.device,
        pictures_out=args.pictures,
    )
    print(json.dumps(figures, indent=1))
    return 0
