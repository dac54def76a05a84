"""What does `imagen evaluate` offer for anybody's models and pictures: people's votes, distances, scores, sweeps?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .raters.comparison import Contender
    from .raters.prompt_sets import Asked


def add_judging_commands(commands: argparse._SubParsersAction) -> None:
    """Add them to the commands of `evaluate`."""
    _add_prompts(commands)
    _add_votes(commands)
    _add_distance(commands)
    _add_clip_score(commands)
    _add_sweep(commands)
    _add_guidance(commands)


def _add_prompts(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("prompts", help="two models side by side on one page, for people to vote blindly")
    add = command.add_argument
    _add_csv(command)
    add("--models", type=file_there, nargs=2, required=True, metavar=("A", "B"), help="two checkpoints, or one twice")
    add("--out", type=folder, required=True, help="folder for compare.html and its key.json")
    add(
        "--steps",
        type=positive,
        nargs="+",
        help="network calls a picture, of both or of each (default: the checkpoint's)",
    )
    add("--guidance-scale", type=float, nargs="+", help="of both or of each (default: the checkpoint's)")
    add("--sampler", nargs="+", help="of both or of each (default: the checkpoint's)")
    add("--text-encoder", type=folder_there, nargs="+", help="of both or of each (default: the one of the right width)")
    add("--shuffle", type=int, default=0, help="another number is another order and other sides (default: %(default)s)")
    _add_drawing(command, count=4)
    command.set_defaults(handler=_prompts)


def _add_csv(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "csv", type=file_there, nargs="?", metavar="CSV", help="columns prompt and category (default: our 100)"
    )
    command.add_argument("--limit", type=int, help="only the first so many prompts of each category")


def _add_drawing(command: argparse.ArgumentParser, *, count: int) -> None:
    add = command.add_argument
    add("--count", type=positive, default=count, help="pictures a prompt (default: %(default)s)")
    add("--side", type=int, help="of a picture, in pixels (default: what the stage is called by)")
    add("--models-dir", type=folder_there, default=default_models_dir(), help="folder with the text encoders")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)


def _add_votes(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("votes", help="whom people prefer, by category, with confidence intervals")
    add = command.add_argument
    add("votes", type=file_there, nargs="+", metavar="FILES", help="what people saved on the page")
    add("--key", type=file_there, help="the page's key.json (default: the one beside the votes)")
    add("--json", action="store_true", help="print the figures on one line")
    command.set_defaults(handler=_votes)


def _add_distance(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("distance", help="Frechet distance between two folders of pictures, in any features")
    add = command.add_argument
    add("drawn", type=folder, help="a folder of pictures, or a .safetensors with one matrix of features")
    add("reference", type=folder, help="the same of what they should be like")
    add(
        "--features",
        type=folder,
        default=default_models_dir() / "classifier.safetensors",
        help="whose: a CLIP (folder or .safetensors), or one of our judges (default: imagen-mini's classifier)",
    )
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    command.set_defaults(handler=_distance)


def _add_clip_score(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "clip", help="CLIP score of a folder of pictures with captions, or how good imagen-mini's CLIP is"
    )
    add = command.add_argument
    add(
        "place",
        type=folder,
        nargs="?",
        help="pictures with captions, as `imagen data check` takes them; without: 1,000 fresh pictures of things, among"
        " which each caption is looked for, and pairs with something exchanged (needs `imagen data stickers`)",
    )
    add("--clip", type=folder, default=default_models_dir() / "clip", help="a whole CLIP (default: imagen-mini's)")
    add("--cache-dir", type=folder, help="where rendered pictures are kept between runs")
    add("--caption", metavar="COLUMN", help="the column of captions (default: caption, text, prompt, ...)")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    command.set_defaults(handler=_clip_score)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("sweep", help="distance and CLIP score against the guidance scale, as a curve")
    add = command.add_argument
    _add_csv(command)
    add("--model", type=file_there, required=True, help="a base's checkpoint")
    add("--out", type=folder, required=True, help="the .svg to write; figures go beside it as .json")
    add("--scales", type=float, nargs="+", default=[1, 1.5, 2, 3, 5, 8], help="guidance scales (default: 1 to 8)")
    add("--clip", type=folder, help="a whole CLIP: its score is taken")
    add("--reference", type=folder, help="pictures, or stored features, whose distance is taken")
    add("--features", type=folder, help="in these features (default: the CLIP's)")
    add("--steps", type=positive, help="network calls a picture (default: the checkpoint's)")
    add("--sampler", help="default: the checkpoint's own")
    add("--text-encoder", type=folder_there, help="default: the one of the right width")
    _add_drawing(command, count=1)
    command.set_defaults(handler=_sweep)


def _add_guidance(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("guidance", help="classifier, CLIP and classifier-free guidance beside each other")
    add, models = command.add_argument, default_models_dir()
    add(
        "--kinds",
        nargs="+",
        default=["classifier"],
        help="classifier, clip, clip_clean, classifier_free (default: %(default)s)",
    )
    add("--scales", type=float, nargs="+", help="of every kind (default: each kind's own)")
    add("--base", type=file_there, default=models / "things64.safetensors", help="what draws (default: things64)")
    add("--judge", type=file_there, help="the noisy classifier of the kind classifier (`imagen train noisy_judge`)")
    add("--clip", type=folder_there, default=models / "clip", help="what guides and measures (default: imagen-mini's)")
    add("--count", type=positive, default=96, help="captions, one picture each (default: %(default)s)")
    add("--steps", type=positive, help="network calls a picture (default: the checkpoint's)")
    add("--out", type=folder, help="write figures here as .json, and a curve of each kind as -KIND.svg")
    add("--models-dir", type=folder_there, default=models, help="folder with the text encoder")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add_dtype(command)
    command.set_defaults(handler=_guidance)


def each_of_two(name: str, values: list[Any] | None) -> tuple[Any, Any]:
    """One value for both, or one each. ValueError for more."""
    if values is None:
        return None, None
    if len(values) > 2:
        raise ValueError(f"--{name} is given {len(values)} values: give one for both models, or one for each")
    return values[0], values[-1]


def _contenders(args: argparse.Namespace) -> tuple[Contender, Contender]:
    from .evaluate import SamplingSettings
    from .raters.comparison import Contender

    names = ("steps", "guidance_scale", "sampler")
    pairs = {name: each_of_two(name.replace("_", "-"), getattr(args, name)) for name in names}
    encoders = each_of_two("text-encoder", args.text_encoder)
    first, second = (
        Contender(
            weights=args.models[i],
            settings=SamplingSettings(**{name: pair[i] for name, pair in pairs.items()}, dtype=args.dtype),
            text_encoder=encoders[i],
            side=args.side,
        )
        for i in range(2)
    )
    return first, second


def _asked(args: argparse.Namespace) -> list[Asked]:
    from .raters.prompt_sets import OURS, read_prompts

    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit {args.limit} leaves no prompts: give 1 or more")
    return read_prompts(args.csv or OURS, most=args.limit)


def _threads(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)


def _prompts(args: argparse.Namespace) -> int:
    from .raters.comparison import compare

    _threads(args)
    pages = compare(
        _asked(args),
        _contenders(args),
        args.out,
        places=[args.models_dir],
        count=args.count,
        seed=args.shuffle,
        device=args.device,
    )
    print(f"{pages.page}\nkeep from those who vote: {pages.key}")
    return 0


def _votes(args: argparse.Namespace) -> int:
    from .raters.votes import counted, key_beside, read_key, read_votes, table

    key = read_key(args.key or key_beside(args.votes))
    found = counted(key, [read_votes(path, key) for path in args.votes])
    if args.json:
        print(json.dumps({q: {name: dataclasses.asdict(p) for name, p in each.items()} for q, each in found.items()}))
    else:
        print(table(key, found))
    return 0


def _distance(args: argparse.Namespace) -> int:
    from .picture_folders import distance

    _threads(args)
    print(json.dumps(distance(args.drawn, args.reference, args.features, args.device), indent=1))
    return 0


def _clip_score(args: argparse.Namespace) -> int:
    from .mini_clip import evaluate_clip
    from .picture_folders import clip_score

    _threads(args)
    if args.place is None:
        print(json.dumps(evaluate_clip(args.clip, args.cache_dir or default_state_root() / "cache"), indent=1))
        return 0
    print(json.dumps(clip_score(args.place, args.clip, caption=args.caption, device=args.device), indent=1))
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from imagen_core.whole_files import write

    from .evaluate import SamplingSettings
    from .guidance_sweep import Measures, sweep, sweep_svg
    from .raters.comparison import Contender

    _threads(args)
    settings = SamplingSettings(steps=args.steps, sampler=args.sampler, dtype=args.dtype)
    model = Contender(weights=args.model, settings=settings, text_encoder=args.text_encoder, side=args.side)
    measures = Measures(clip=args.clip, reference=args.reference, features=args.features)
    prompts = [each.prompt for each in _asked(args)]
    rows = sweep(model, prompts, args.scales, measures, places=[args.models_dir], count=args.count, device=args.device)
    out: Path = args.out.with_suffix(".svg")
    write(out, sweep_svg(rows).encode())
    write(out.with_suffix(".json"), (json.dumps(rows, indent=1) + "\n").encode())
    print(json.dumps(rows, indent=1))
    print(out)
    return 0


def _guidance(args: argparse.Namespace) -> int:
    from imagen_core.whole_files import write

    from .evaluate import SamplingSettings
    from .stickers.guided import Trial, guidance_svg, measured, table

    _threads(args)
    settings = SamplingSettings(steps=args.steps, dtype=args.dtype)
    trial = Trial.of(args.base, args.models_dir, args.clip, args.judge, settings, args.device)
    rows = measured(trial, args.kinds, args.scales, args.count)
    print(table(rows))
    if args.out is not None:
        write(args.out.with_suffix(".json"), (json.dumps(rows, indent=1) + "\n").encode())
        for kind in args.kinds:
            path = args.out.with_name(f"{args.out.stem}-{kind}.svg")
            write(path, guidance_svg([row for row in rows if row["kind"] == kind]).encode())
            print(path)
    return 0
