"""Which folders does a command work in, can they be used, and who removes what a killed one left there?"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import runtime
from .places import folder_there, place
from .whole_files import locked_folder, sweep

PREFIX = "imagen-"
DEFAULTS = ("output", "user")


def make_host(options: argparse.Namespace, temporary: Path) -> runtime.Runtime:
    """Folders as the options say; what is to be written is tried now, not after minutes of work."""
    inputs = [folder_there(item, "--input") for item in options.input]
    models = [folder_there(item, "--models") for item in options.models]
    return runtime.Runtime(
        input_directories=[*inputs, *runtime.default_input_directories()],
        output_directory=writable(options.out, "the output folder", "--out"),
        temp_directory=temporary,
        model_directories=[*models, *runtime.model_directories_of_environment()],
    )


def writable(name: str, what: str, option: str) -> Path:
    """The folder `name`, made if needed, and said if so; drafts of killed processes in it go. Raises ValueError."""
    folder = place(name)
    there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{what} {folder} cannot be written ({reason}): choose another with {option}") from error
    if there:
        sweep_below(folder)
    elif name not in DEFAULTS:  # it may be a slip of the pen
        print(f"{what} {folder} is new", file=sys.stderr)
    return folder


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for temporary files; those of killed processes go first. ValueError: there is no room for one."""
    try:
        parent = Path(tempfile.gettempdir())
        sweep(parent, PREFIX, "")
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(locked_folder(parent, PREFIX))
            folder.chmod(0o700)
            ready = stack.pop_all()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"no folder for temporary files can be written ({reason}): set TMPDIR to one that can"
        ) from error
    with ready:
        yield folder


def sweep_below(root: Path) -> None:
    """Remove the drafts that killed processes left in a folder and in those inside it."""
    for folder, names, _ in os.walk(root):
        sweep(folder)
        names[:] = [name for name in names if not name.startswith(".imagen-")]
