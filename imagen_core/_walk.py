"""How are models found in a folder? Deep, by name, and past what a model folder itself holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

MAX_DEPTH = 6  # folders inside folders


def find_models(
    folder: Path, is_folder: Callable[[Path], bool], is_file: Callable[[Path], bool], *, depth: int = MAX_DEPTH
) -> Iterator[Path]:
    """The folders and files that are models, in order of name; what lies in such a folder is not looked at again.

    Hidden entries and folders that cannot be read are passed over; folders behind links are followed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if is_folder(entry):
                yield entry
            elif depth:
                yield from find_models(entry, is_folder, is_file, depth=depth - 1)
        elif is_file(entry):
            yield entry
