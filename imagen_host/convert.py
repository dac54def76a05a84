"""`imagen convert`: a workflow of the editor as an API prompt, or pickled weights as safetensors, by the file's kind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .places import place

ARCHIVES = (".pt", ".pth", ".ckpt", ".bin")  # of torch.save


def add_convert(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    convert = commands.add_parser(
        "convert", help="print a workflow as an API prompt, or turn pickled weights (.pt) into safetensors"
    )
    add = convert.add_argument
    add(
        "file",
        metavar="FILE",
        help="a workflow file, a picture that carries one, or a shipped name; or weights: .pt, .pth, .ckpt, .bin",
    )
    add("--out", metavar="FILE", help="weights only: where to (default: beside it, as .safetensors)")
    add(
        "--flag",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="weights only: what shapes do not tell of a network of your own, kept in the file (num_heads=4)",
    )
    add("--stats", metavar="FILE", help="a prior's weights only: its file of mean and deviation (ViT-L-14_stats.th)")
    convert.set_defaults(handler=convert_file)


def convert_file(options: argparse.Namespace) -> None:
    """Print the prompt, or the path of the new file."""
    if Path(options.file).suffix.lower() in ARCHIVES:
        print(_convert_weights(options))
    elif options.out or options.flag or options.stats:
        raise ValueError(
            "--out, --flag and --stats are for weights, and a workflow's prompt is printed: convert NAME > x.json"
        )
    else:
        _convert_workflow(options.file)


def _convert_weights(options: argparse.Namespace) -> Path:
    from .registry import load_pack, pack_folder

    core = sys.modules[f"{load_pack(pack_folder()).__name__}.imagen_core"]
    out, stats = (place(name) if name else None for name in (options.out, options.stats))
    try:
        return core.convert_weights(place(options.file), out, facts=_facts(options.flag), stats=stats)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error


def _facts(flags: Sequence[str]) -> dict[str, str]:
    pairs = [flag.partition("=") for flag in flags]
    wrong = [flag for flag, (name, equals, value) in zip(flags, pairs, strict=True) if not (name and equals and value)]
    if wrong:
        raise ValueError(f"--flag {wrong[0]}: expected NAME=VALUE, as in num_heads=4")
    return {name: value for name, _, value in pairs}


def _convert_workflow(name: str) -> None:
    from .graphs.reading import as_json, find_workflow, read_workflow, refuse_what_needs_comfyui
    from .registry import load_registry, pack_folder

    path = find_workflow(name, pack_folder())
    registry = load_registry()
    refuse_what_needs_comfyui(path, pack_folder(), registry.classes)
    print(as_json(read_workflow(path, registry.node_classes()).prompt))
