"""How do two servers on one user folder take turns at its files? By a lock that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK_FILE = ".imagen-lock"
PATIENCE = 10.0  # seconds; a turn takes milliseconds
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def turn(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the folder's lock, waiting for another thread or process if need be. Raises OSError when it cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(handle, patience)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _wait(handle: int, patience: float) -> None:
    end = time.monotonic() + patience
    while not _take(handle):
        if time.monotonic() > end:
            raise OSError(errno.EAGAIN, "another process holds the folder's lock")
        time.sleep(0.005)


def _take(handle: int) -> bool:
    """Take the lock if nobody has it. A file system that knows no locks has nobody to wait for."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in HELD
    return True
