"""`imagen cache`: which encoded prompts are kept on the disk, where, and how are they removed?"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from types import ModuleType


def add_cache(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    cache = commands.add_parser("cache", help="list or clear the encoded prompts that are kept on the disk")
    cache.set_defaults(handler=lambda options: print_list(options))
    actions = cache.add_subparsers(metavar="ACTION")
    listing = actions.add_parser("list", help="the prompts, the most recently used first (the default)")
    clear = actions.add_parser("clear", help="remove them all")
    path = actions.add_parser("path", help="print the folder they are in (IMAGEN_CACHE sets it; 0 turns it off)")
    for parser in (cache, listing):
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    listing.set_defaults(handler=print_list)
    clear.set_defaults(handler=clear_all)
    path.set_defaults(handler=print_path)


def _prompt_files() -> ModuleType:
    """The core's own module: the pack is loaded from its folder, as ComfyUI does."""
    from .registry import load_pack, pack_folder

    return importlib.import_module(f"{load_pack(pack_folder()).__name__}.imagen_core.text.prompt_files")


def _opened():
    module = _prompt_files()
    directory = module.cache_directory()
    if directory is None:
        off = bool(os.environ.get("IMAGEN_CACHE"))
        why = "is turned off by IMAGEN_CACHE: unset it" if off else "needs a home folder: set HOME"
        raise ValueError(f"the prompt cache {why}, or set IMAGEN_CACHE to a folder")
    return module.PromptFiles(directory)


def print_list(options: argparse.Namespace) -> None:
    """A line a prompt: when it was last used, its size and tokens, and its text."""
    files = _opened()
    entries = files.entries()
    if options.json:
        for entry in entries:
            stated = {"text": entry.text, "padding": entry.pad_to, "bytes": entry.bytes, "used": entry.used}
            print(json.dumps({**stated, "file": str(entry.path)}))
        return
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        text = " ".join(entry.text.split())
        shown = f"{text[:90]}..." if len(text) > 90 else text or "(the empty prompt)"
        print(f"{used}  {entry.bytes / 1e6:5.2f} MB  {shown}")
    total = sum(entry.bytes for entry in entries)
    print(
        f"{len(entries)} encoded prompts, {total / 1e6:.1f} of {files.limit_bytes / 1e6:.0f} MB, in {files.directory}"
    )


def clear_all(options: argparse.Namespace) -> None:
    """Remove every entry and say how many."""
    files = _opened()
    print(f"removed {files.clear()} files from {files.directory}")
    if left := len(files.entries()):
        raise ValueError(f"{left} files in {files.directory} cannot be removed: see who may write there")


def print_path(options: argparse.Namespace) -> None:
    print(_opened().directory)
