"""What does `imagen train` offer for one's own pictures: `run` a config, `report` on a run, learn a `lora`?"""

from __future__ import annotations

import argparse
import sys

from .options import default_models_dir, default_state_root, device_there, file_there, folder, folder_there, positive


def add_own_commands(train: argparse._SubParsersAction) -> None:
    """Add them to the commands of `train`."""
    own = train.add_parser("run", help="a stage on one's own pictures, as a TOML file says (docs/training.md)")
    own.add_argument("config", type=file_there, metavar="CONFIG.toml", help="what is trained on what, for how long")
    own.add_argument("--resume", action="store_true", help="go on from the last save")
    own.add_argument("--check", action="store_true", help="say whether the file is right, and train nothing")
    own.set_defaults(handler=_own)
    report = train.add_parser("report", help="curves and pictures of a run, as one page that opens offline")
    report.add_argument("state_dir", type=folder_there, help="the folder with the run's log.jsonl")
    report.add_argument("--out", type=folder, help="the page (default: report.html in that folder)")
    report.set_defaults(handler=_report)
    _add_lora(train)


def _add_lora(train: argparse._SubParsersAction) -> None:
    command = train.add_parser("lora", help="teach a stage a thing or a style from a few captioned pictures")
    add = command.add_argument
    add("pictures", type=folder, help="a folder of pictures, or what else `imagen data check` takes")
    add("--base", type=folder, default=default_models_dir() / "things64.safetensors", help="the stage's checkpoint")
    add("--text-encoder", type=folder, help="that it was trained with (default: the one of the base's width)")
    add("--out", type=folder, required=True, help="the .safetensors to write; put it under models/loras to use it")
    add("--cache-dir", type=folder, help="where prepared pictures are kept between runs")
    add("--side", type=int, default=64, help="the side that the stage draws at (default: %(default)s)")
    add("--rank", type=int, default=8, help="how large the change may be (default: %(default)s)")
    add("--steps", type=positive, default=300, help="how long it learns (default: %(default)s)")
    add("--learning-rate", type=float, default=1e-3, help="0.0001 suits DeepFloyd IF (default: %(default)s)")
    add("--batch-size", type=positive, default=4, help="pictures a step (default: %(default)s)")
    add("--targets", choices=("all", "linear"), default="all", help="which layers change (default: %(default)s)")
    kept = "what shall be drawn as before (DreamBooth's prior preservation): 'a 3D emoji of a fox'; may be repeated"
    add("--class-prompt", action="append", default=[], metavar="TEXT", help=kept)
    add("--class-images", type=int, default=100, help="that the base draws of them first (default: %(default)s)")
    add("--prior-loss-weight", type=float, default=1.0, help="what they count beside yours (default: %(default)s)")
    add("--flip", action="store_true", help="mirror half of the pictures")
    add("--seed", type=int, default=0, help="the same seed learns the same change (default: %(default)s)")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    command.set_defaults(handler=_lora)


def _own(args: argparse.Namespace) -> int:
    from .run_config import read_run_config

    config = read_run_config(args.config)
    from .own_run import check, train_own

    if args.check:
        check(config)
        print(f"{args.config} is right")
        return 0
    result = train_own(config, resume=args.resume)
    if result.interrupted:
        print(f"stopped and saved; go on with: imagen train run {args.config} --resume", file=sys.stderr)
        return 130
    print(config.out / f"{config.stage}.safetensors")
    return 0


def _lora(args: argparse.Namespace) -> int:
    from imagen_core import LoraSettings

    from .lora_run import ClassToKeep, train_lora

    names = ("rank", "steps", "learning_rate", "batch_size", "targets", "flip", "seed", "prior_loss_weight")
    path = train_lora(
        args.base,
        args.pictures,
        args.out,
        text_encoder=args.text_encoder,
        cache_dir=args.cache_dir or default_state_root() / "cache",
        side=args.side,
        settings=LoraSettings(**{name: getattr(args, name) for name in names}),
        keep=ClassToKeep(prompts=tuple(args.class_prompt), images=args.class_images) if args.class_prompt else None,
        device=args.device,
    )
    print(path)
    return 0


def _report(args: argparse.Namespace) -> int:
    from .report import write_report

    print(write_report(args.state_dir, args.out or args.state_dir / "report.html", title=args.state_dir.name))
    return 0
