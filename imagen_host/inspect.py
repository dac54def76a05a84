"""`imagen inspect`: what is this checkpoint?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from .places import place

FILES_SHOWN = 4


def add_inspect(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    inspect = commands.add_parser("inspect", help="say what a checkpoint is: stage, network, size, schedule")
    inspect.add_argument("path", metavar="PATH", help="a .safetensors or .gguf file, or a published model folder")
    inspect.add_argument("--json", action="store_true", help="print it as one JSON object")
    inspect.set_defaults(handler=inspect_checkpoint)


def inspect_checkpoint(options: argparse.Namespace) -> None:
    """Print what the pack's core says of a file or folder. ValueError for what is no checkpoint."""
    from .registry import load_pack, pack_folder

    core = sys.modules[f"{load_pack(pack_folder()).__name__}.imagen_core"]
    try:
        found = core.inspect_checkpoint(place(options.path))
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    if options.json:
        print(json.dumps(found, default=_plain))
    else:
        print("\n".join(lines(found)))


def _plain(value: Any) -> Any:
    """What JSON has no word for, settings of a network and sets of names, as what it has."""
    if is_dataclass(value):
        return asdict(value)
    return str(value) if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)


def lines(found: Mapping[str, Any]) -> list[str]:
    """What was found, a line a fact."""
    stored = ", ".join(
        f"{number_format} {share:.0%}" if share < 1 else number_format
        for number_format, count in found["formats"].items()
        if (share := count / max(found["parameters"], 1))
    )
    facts = {
        "kind": found["kind"],
        "stage": found.get("stage"),
        "parameters": f"{found['parameters'] / 1e6:,.1f} M",
        "stored as": f"{stored}, {size(found['bytes'])}",
        "naming": found.get("naming"),
        "files": shorten(found["files"]),
    }
    text = [f"{name:14} {value}" for name, value in facts.items() if value]
    groups = {
        name: found[name]
        for name in ("network", "schedule", "space", "text", "defaults", "training", "settings")
        if name in found
    }
    if "prediction_type" in found:
        names = ("prediction_type", "learned_variance", "low_res_resize", "aug_zero_is_clean")
        groups["sampling"] = {name: found[name] for name in names}
    for name, settings in groups.items():
        for i, (key, value) in enumerate(settings.items()):
            text.append(f"{name if i == 0 else '':14} {key} = {plain(value)}")
    return text


def plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def shorten(names: list[str]) -> str:
    """The names, or the first few of many."""
    rest = len(names) - FILES_SHOWN
    return ", ".join(names[:FILES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"
