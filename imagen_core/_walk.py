"""How are models and files found in a folder? Deep, by name, past what a model itself holds or nobody may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

MAX_DEPTH = 6  # folders inside folders


def find_models(
    folder: Path, is_folder: Callable[[Path], bool], is_file: Callable[[Path], bool], *, depth: int = MAX_DEPTH
) -> Iterator[Path]:
    """The folders and files that are models, in order of name; what lies in such a folder is not looked at again.

    Hidden entries and folders that may not be read (a disk's lost+found) are passed over; folders behind links are
    followed.
    """
    for entry in _entries(folder):
        if _answers(Path.is_dir, entry):
            if _answers(is_folder, entry):
                yield entry
            elif depth:
                yield from find_models(entry, is_folder, is_file, depth=depth - 1)
        elif _answers(is_file, entry):
            yield entry


def find_files(folder: Path, *names: str) -> Iterator[Path]:
    """Every file under `folder` that has one of these names, or any name when none is given, as `find_models` walks."""
    return find_models(folder, lambda _: False, lambda file: (not names or file.name in names) and file.is_file())


def beginning(file: Path, count: int = 1 << 16) -> bytes:
    """The first bytes of a file; none where there is no file, or nobody may read it."""
    try:
        with file.open("rb") as stream:
            return stream.read(count)
    except OSError:
        return b""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _answers(question: Callable[[Path], bool], entry: Path) -> bool:
    """What `question` says of `entry`; False where the disk lets nobody look."""
    try:
        return question(entry)
    except OSError:
        return False
