"""How does a file come under its name whole or not at all, whatever ends the process, and who clears up after a crash?

It is written in a folder of its own beside its place (`drafts`), forced to the disk and renamed. That folder is locked
while its process lives, so what a kill -9 left is known by its lock being free, and `sweep` removes it. Standard library
only: imagen_host loads this file alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX, SUFFIX = ".imagen-", ".part"
UNLOCKED_AGE = 24 * 3600  # seconds after which a folder that cannot be locked here counts as left behind
_swept: set[str] = set()  # places where this process has looked for leftovers
NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK, errno.EBADF)


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to; when the block ends well, what it holds is forced to the disk and renamed to `path`.

    Raises OSError when `path`'s folder is missing or takes no files.
    """
    with drafts(Path(path).parent) as folder:
        draft = folder / "draft"
        yield draft
        replace(draft, path)


def write(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Put `data` under its name, making folders as needed. Raises FileExistsError for a name that is taken and kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if replace:
        with whole(path) as draft:
            draft.write_bytes(data)
        return
    with drafts(path.parent) as folder:
        (folder / "draft").write_bytes(data)
        if not claim(folder / "draft", path):
            raise FileExistsError(f"{path} exists")


@contextlib.contextmanager
def drafts(place: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder inside `place` for files in the making; it goes with all that is left in it when the block ends.

    The first one of a process in a place also clears up what killed processes left there.
    """
    if os.fspath(place) not in _swept:
        _swept.add(os.fspath(place))
        sweep(place)
    with locked_folder(Path(place), PREFIX, SUFFIX) as folder:
        yield folder


@contextlib.contextmanager
def locked_folder(place: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Make a new folder in `place`, hold its lock, and remove it with everything in it at the end."""
    folder, lock = _make_locked(place, prefix, suffix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make_locked(place: Path, prefix: str, suffix: str) -> tuple[Path, int | None]:
    while True:
        folder = place / f"{prefix}{secrets.token_hex(6)}{suffix}"
        os.mkdir(folder)
        try:
            lock = _lock(folder)
        except (BlockingIOError, FileNotFoundError):  # another process swept it before it was locked
            continue
        if folder.exists():
            return folder, lock
        if lock is not None:
            os.close(lock)


def replace(draft: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Give a finished draft its name, in place of a file that has it."""
    _finish(Path(draft))
    os.replace(draft, path)
    _force(Path(path).parent)


def claim(draft: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    """Give a finished draft its name unless something has that name, also where another process tries the same.

    By a hard link, which is there at once and whole; where the file system has none the name is taken first, empty.
    """
    _finish(Path(draft))
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError):  # a disk, or a platform, without hard links
        return _reserve_and_replace(draft, path)
    _force(Path(path).parent)
    return True


def _reserve_and_replace(draft: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    try:
        replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return True


def sweep(place: str | os.PathLike[str], prefix: str = PREFIX, suffix: str = SUFFIX) -> int:
    """Remove the folders of `locked_folder` in `place` whose process is gone; returns how many. Never raises."""
    ours = re.compile(f"{re.escape(prefix)}[0-9a-f]{{12}}{re.escape(suffix)}")
    try:
        names = [name for name in os.listdir(place) if ours.fullmatch(name)]
    except OSError:
        return 0
    return sum(_remove_if_left(Path(place) / name) for name in names)


def _remove_if_left(folder: Path) -> bool:
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
            return False
        lock = _lock(folder)
    except OSError:  # in use, or gone meanwhile
        return False
    try:
        if lock is None and time.time() - status.st_mtime < UNLOCKED_AGE:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """The folder held open under an exclusive lock; None where there are no locks. BlockingIOError when it is held."""
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in NO_LOCKS:
            return None
        raise
    return handle


def _finish(draft: Path) -> None:
    """Everybody's usual permissions (some writers make private files), and all bytes on the disk."""
    if fcntl is not None:
        draft.chmod(draft.parent.stat().st_mode & 0o666)
    _force(draft)


def _force(path: Path) -> None:
    """Ask the disk to keep what it was given; a folder, too, holds its names only then."""
    if fcntl is None and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if fcntl is not None else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF):
            raise
    finally:
        os.close(handle)
