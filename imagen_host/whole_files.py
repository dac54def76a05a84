"""How is a file written so that nobody sees half of it, and nothing is lost to a crash or to another process?

Under a temporary name in the same folder, on the disk before it gets its own name. Temporary names begin with `.imagen-`
and end in `.part`; one that is found later was left by a crash.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def temporary_for(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file in `folder`, to be filled, synced and named; what still has the temporary name in the end is removed."""
    path = folder / f".imagen-{uuid.uuid4().hex}.part"
    try:
        with open(path, "xb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def sync(file: IO[bytes]) -> None:
    """Wait until what was written is on the disk: a name that outlives a crash must not lead to an empty file."""
    file.flush()
    os.fsync(file.fileno())


def write(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Put `data` under its name, making folders as needed. Raises FileExistsError for a name that is taken and kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_for(path.parent) as (temporary, file):
        file.write(data)
        sync(file)
        file.close()
        if replace:
            os.replace(temporary, path)
        elif not claim(temporary, path):
            raise FileExistsError(f"{path} exists")


def claim(temporary: Path, path: Path) -> bool:
    """Give a finished file its name; False when another file has it, which is never replaced."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        return _reserve_and_replace(temporary, path)
    return True


def _reserve_and_replace(temporary: Path, path: Path) -> bool:
    """Take the name with an empty file, which one process alone can do, and put the finished one in its place."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    try:
        os.replace(temporary, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True
