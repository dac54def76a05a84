"""Which folder or file does a person name, and what on a machine without a home or without its working folder?

Standard library only: imagen_host loads this file alone.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path | None:
    """The user's own folder; None where there is none, as in a container that runs under a bare number."""
    named = os.environ.get("HOME") or None
    if named is None and "HOME" in os.environ:
        os.environ.pop("HOME")  # empty: Python would take it for the working folder
    try:
        return Path.home()
    except RuntimeError:
        return None


def place(name: str | os.PathLike[str]) -> Path:
    """What `name` means, with `~` spelled out, absolute. ValueError: no such home, or no working folder to begin at."""
    given = Path(name)
    if "\0" in os.fspath(given):
        raise ValueError(f"{os.fspath(given)!r} is no name that a file can have")
    own = home()
    try:
        path = own.joinpath(*given.parts[1:]) if own and given.parts[:1] == ("~",) else given.expanduser()
    except RuntimeError:
        path = given
    if given == path and given.parts[:1] and given.parts[0].startswith("~") and not given.exists():
        raise ValueError(f"{given}: there is no home folder for {given.parts[0]}; give the whole path, or set HOME")
    try:
        return path.absolute()
    except FileNotFoundError:
        raise ValueError(
            f"the working folder is gone, so {given} is nowhere: go to a folder that exists, or give a whole path"
        ) from None


def folder_there(name: str | os.PathLike[str], what: str) -> Path:
    """`place(name)`, which must be a folder. ValueError, which calls it `what` (--models, ...), where it is not."""
    path = place(name)
    if not path.is_dir():
        raise ValueError(f"{what}: there is no folder {path}; make it, or name another")
    return path


def working_folder_is_there() -> bool:
    try:
        return Path.cwd().is_dir()
    except OSError:
        return False
