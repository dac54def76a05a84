"""What does training offer on the command line? `imagen data|train|evaluate ...` (heavy imports wait)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from .data_cli import add_data_commands
from .fewer_cli import add_fewer_command
from .identity_cli import add_identity_command
from .image_prompt_cli import add_image_prompt_command
from .inpaint_cli import add_inpaint_command
from .judging_cli import add_judging_commands
from .options import (
    add_dtype,
    add_train_options,
    default_models_dir,
    default_state_root,
    device_there,
    file_there,
    folder,
    folder_there,
    positive,
    train_options,
)
from .own_cli import add_own_commands
from .reference_cli import add_reference_command
from .trainables import TRAINABLES
from .unclip_cli import add_unclip_command

PICTURES = (
    "base64",
    "base64_held_out",
    "base64_pairs",
    "full256",
    "full256_held_out",
    "textures256",
    "window1024",
    "window1024_held_out",
    "things64_first",
    "things64_first_held_out",
    "things64_wide",
    "things64_wide_held_out",
    "things64_wide_test",
    "things64_crowded",
    "solids64",
    "things256",
    "things256_redrawn",
    "things256_held_out",
    "things1024",
    "things1024_held_out",
    "identities64",
    "identities64_held_out",
)
PARTS = ("files", "seconds", "photographs", "super_resolution", "things", "frechet", "copying")


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add `data`, `train` and `evaluate` to a parser's commands; each sets `handler`, a function of the arguments."""
    add_data_commands(subparsers)
    train = subparsers.add_parser("train", help="make imagen-mini's weights").add_subparsers(
        required=True, metavar="WHAT"
    )
    for stage, trainable in TRAINABLES.items():
        command = train.add_parser(stage, help=trainable.about)
        add_train_options(command)
        trainable.add_options(command)
        command.set_defaults(handler=_train, stage=stage)
    add_own_commands(train)
    _add_pictures(train)
    _add_mini(train)
    command = train.add_parser("export", help="put a stage's averaged weights in the models folder as they are by now")
    command.add_argument("stage", choices=[name for name, each in TRAINABLES.items() if each.exports], help="which one")
    add_train_options(command)
    command.set_defaults(handler=_export, max_steps=1)
    evaluate = subparsers.add_parser("evaluate", help="measure the weights")
    commands = evaluate.add_subparsers(required=True, metavar="WHAT")
    _add_evaluate_sr(commands)
    _add_evaluate_all(commands)
    _add_evaluate_things(commands)
    _add_evaluate_control(commands)
    add_unclip_command(commands)
    add_image_prompt_command(commands)
    add_identity_command(commands)
    add_inpaint_command(commands)
    add_reference_command(commands)
    add_fewer_command(commands)
    add_judging_commands(commands)
    sheet = commands.add_parser("sheet", help="draw unpicked pictures at 256 and 1024 px as contact sheets")
    sheet.add_argument("--out", type=folder, required=True, help="folder for the JPEGs")
    sheet.add_argument("--count", type=positive, default=64, help="pictures (default: %(default)s)")
    sheet.add_argument("--models-dir", type=folder_there, default=default_models_dir(), help="folder with the weights")
    sheet.add_argument("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    sheet.add_argument("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    sheet.set_defaults(handler=_sheet)


def _add_pictures(train: argparse._SubParsersAction) -> None:
    pictures = train.add_parser("pictures", help="render training pictures into the cache")
    pictures.add_argument("--kind", choices=PICTURES, required=True, help="which set")
    pictures.add_argument(
        "--count", type=positive, required=True, help="how many there are to be, those already there included"
    )
    pictures.add_argument("--cache-dir", type=folder, help="where pictures are kept between runs")
    pictures.add_argument("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    pictures.add_argument("--part", type=int, default=0, help="this process renders part N of ...")
    pictures.add_argument("--parts", type=int, default=1, help="... so many (default: %(default)s)")
    pictures.set_defaults(handler=_pictures)


def _add_mini(train: argparse._SubParsersAction) -> None:
    command = train.add_parser("mini", help="everything from nothing (needs `imagen data stickers`)")
    add = command.add_argument
    add("--dry-run", action="store_true", help="measure the speed, say what it will cost, and stop")
    add("--scale", type=float, default=1.0, help="factor on every stage's steps (default: %(default)s)")
    add("--root", type=folder, help="where states and pictures are kept")
    add("--models-dir", type=folder, help="where finished weights go (default: ROOT/imagen-mini)")
    add("--device", type=device_there, help="default: cuda where there is a GPU, else cpu")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that render (default: %(default)s)")
    add("--seed", type=int, default=0, help="everything random follows from it (default: %(default)s)")
    command.set_defaults(handler=_mini)


def _add_evaluate_sr(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("sr", help="does super-resolution beat bicubic on held-out pictures?")
    add = command.add_argument
    add("--stage", choices=("sr256", "sr1024"), default="sr256", help="which one (default: %(default)s)")
    add("--aug-level", type=float, default=0.0, help="noise put on the small picture (default: %(default)s)")
    add("--count", type=positive, default=16, help="pictures judged (default: %(default)s)")
    add("--models-dir", type=folder_there, default=default_models_dir(), help="folder with the weights")
    add("--cache-dir", type=folder, help="where held-out pictures are kept between runs")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--sampler", help="default: the checkpoint's own")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--json", action="store_true", help="print the figures on one line")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_sr)


def _add_evaluate_all(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "all", help="every figure of the model card; stopped by Ctrl-C it prints what it has, and goes on next time"
    )
    add = command.add_argument
    add("--only", help=f"parts, separated by commas (default: {','.join(PARTS)})")
    add("--count", type=positive, default=2000, help="prompts of the part things (default: %(default)s)")
    add("--seeds", type=int, default=3, help="pictures a prompt (default: %(default)s)")
    add("--frechet-count", type=int, default=5000, help="pictures of the Frechet distance (default: %(default)s)")
    add("--sr-count", type=int, default=16, help="pictures a super-resolution table (default: %(default)s)")
    add("--models-dir", type=folder_there, default=default_models_dir(), help="folder with the weights")
    add("--cache-dir", type=folder, help="where held-out pictures are kept between runs")
    add("--out-dir", type=folder, help="where figures and drawn pictures are kept, to go on from")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    add("--json", action="store_true", help="print the figures on one line")
    command.set_defaults(handler=_evaluate_all)


def _add_evaluate_things(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("things", help="does a base draw the things, styles, colours and places asked for?")
    add = command.add_argument
    add("--base", type=file_there, required=True, help="the base's checkpoint")
    add(
        "--models-dir",
        type=folder_there,
        default=default_models_dir(),
        help="folder with things_text_encoder/ (and the judge)",
    )
    add("--judge", type=file_there, help="the judge's file (default: things_judge.safetensors in --models-dir)")
    add(
        "--nearest",
        action="store_true",
        help="without a judge: is the render that was asked for the nearest of all that might have been?",
    )
    add(
        "--count",
        type=positive,
        default=512,
        help="captions, in training's colours and in others (default: %(default)s)",
    )
    add("--tier", type=int, default=2, help="things up to this tier of the list (default: %(default)s)")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--pictures", type=folder, help="write the first 64 pictures as one PNG, captions beside it")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_things)
    text = commands.add_parser("text", help="does a text encoder know that a bunny is a rabbit?")
    text.add_argument(
        "--encoder", type=folder, default=default_models_dir() / "things_text_encoder", help="its folder or file"
    )
    text.add_argument("--base", type=file_there, help="a base that reads it: does it know left from right?")
    text.set_defaults(handler=_evaluate_text)


def _add_evaluate_control(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("control", help="how well does a control make its base follow hints?")
    add = command.add_argument
    add("--base", type=file_there, required=True, help="the base's checkpoint")
    add("--control", type=file_there, required=True, help="the control's file")
    add("--models-dir", type=folder_there, default=default_models_dir(), help="folder with the base's text encoder")
    add("--judge", type=file_there, help="a things_judge.safetensors: does the caption hold besides?")
    add("--nearest", type=int, default=0, help="of so many named things: is the right one's render the nearest of all?")
    add("--pictures", help="whose hints are followed (default: the base's own, held out)")
    add("--cache-dir", type=folder, help="where held-out pictures are kept between runs")
    add("--count", type=positive, default=500, help="pictures (default: %(default)s)")
    add("--guidance-scale", type=float, help="default: the checkpoint's own")
    add("--steps", type=positive, help="network calls a picture; default: the checkpoint's own")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_evaluate_control)


def _train(args: argparse.Namespace) -> int:
    options = train_options(args, args.stage)
    trainable = TRAINABLES[args.stage]
    outcome = trainable.run(options, trainable.settings(args))
    if outcome.figures:
        _say(outcome.figures)
    if outcome.interrupted:
        print(f"stopped and saved; go on with --resume --state-dir {options.state_dir}", file=sys.stderr)
        return 130
    return 0


def _mini(args: argparse.Namespace) -> int:
    from .recipe import Recipe, Workshop, best_device, run_recipe

    root = args.root or default_state_root() / "mini"
    workshop = Workshop(
        root=root,
        models_dir=args.models_dir or root / "imagen-mini",
        device=args.device or best_device(),
        workers=args.workers,
        seed=args.seed,
    )
    done = run_recipe(Recipe().scaled(args.scale), workshop, dry_run=args.dry_run)
    return 0 if done or args.dry_run else 130


def _export(args: argparse.Namespace) -> int:
    print(TRAINABLES[args.stage].export(train_options(args, args.stage)))
    return 0


def _pictures(args: argparse.Namespace) -> int:
    import torch

    from .data import KINDS, render_pictures

    torch.set_num_threads(args.threads)
    cache_dir = args.cache_dir or default_state_root() / "cache"
    render_pictures(KINDS[args.kind], args.count, cache_dir, part=args.part, parts=args.parts)
    return 0


def _evaluate_sr(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings, evaluate_sr

    torch.set_num_threads(args.threads)
    figures = evaluate_sr(
        args.models_dir / f"{args.stage}.safetensors",
        args.models_dir,
        args.cache_dir or default_state_root() / "cache",
        count=args.count,
        settings=SamplingSettings(
            steps=args.steps,
            sampler=args.sampler,
            guidance_scale=args.guidance_scale,
            dtype=args.dtype,
            aug_level=args.aug_level,
        ),
        device=args.device,
    )
    if args.json:
        print(json.dumps(figures))
    else:
        _say(figures)
    return 0


def _evaluate_things(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .stickers.evaluate import evaluate_things
    from .stickers.nearest import evaluate_nearest

    torch.set_num_threads(args.threads)
    settings = SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype)
    asked = {"count": args.count, "tier": args.tier, "settings": settings, "pictures_out": args.pictures}
    if args.nearest:
        _say(evaluate_nearest(args.base, args.models_dir, **asked))
    else:
        _say(evaluate_things(args.base, args.models_dir, judge=args.judge, **asked))
    return 0


def _evaluate_control(args: argparse.Namespace) -> int:
    import torch

    from .evaluate import SamplingSettings
    from .evaluate_control import evaluate_control
    from .stickers.judge import load_things_judge

    torch.set_num_threads(args.threads)
    figures = evaluate_control(
        args.base,
        args.control,
        args.models_dir,
        args.cache_dir or default_state_root() / "cache",
        pictures=args.pictures,
        count=args.count,
        settings=SamplingSettings(steps=args.steps, guidance_scale=args.guidance_scale, dtype=args.dtype),
        judge=None if args.judge is None else load_things_judge(args.judge),
        nearest=args.nearest,
        device=args.device,
    )
    _say(figures)
    return 0


def _evaluate_text(args: argparse.Namespace) -> int:
    from .stickers.text_probe import probe

    _say(probe(args.encoder, args.base))
    return 0


def _sheet(args: argparse.Namespace) -> int:
    import torch

    from .contact_sheet import write_contact_sheets

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)  # found out now, not after the drawing
    for path in write_contact_sheets(args.models_dir, args.out, count=args.count, device=args.device):
        print(path)
    return 0


def _evaluate_all(args: argparse.Namespace) -> int:
    only = args.only.split(",") if args.only else list(PARTS)
    if unknown := set(only) - set(PARTS):
        raise ValueError(f"--only knows no {sorted(unknown)}: expected some of {', '.join(PARTS)}")
    import torch

    from .evaluate_all import Measurement, measure_all

    torch.set_num_threads(args.threads)
    measurement = Measurement(
        models_dir=args.models_dir,
        cache_dir=args.cache_dir or default_state_root() / "cache",
        root=args.out_dir or default_state_root() / "evaluate",
        count=args.count,
        seeds=args.seeds,
        frechet_count=args.frechet_count,
        sr_count=args.sr_count,
        device=args.device,
        dtype=args.dtype,
    )
    figures = measure_all(measurement, only)
    print(json.dumps(figures, indent=None if args.json else 1))
    return 130 if measurement.stopped else 0


def _say(figures: dict) -> None:
    """Print named figures, nested ones indented."""
    print(json.dumps(figures, indent=1))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m imagen_train`: the same two commands, without a host."""
    parser = argparse.ArgumentParser(prog="python -m imagen_train", description=__doc__)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    args = parser.parse_args(argv)
    return args.handler(args)
