"""What a running node can reach of its host: progress, interruption, folders. The names follow ComfyUI's own.

Importing this file starts nothing and needs nothing but the standard library. The engine installs a `Runtime` with
`use`; outside of a run the functions answer for the current working directory.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .places import folder_there, place, working_folder_is_there

PACK_ROOT = Path(__file__).resolve().parent.parent
LONGEST_NAME = 200  # bytes of a file name, which most systems limit to 255 with counter and ending
ProgressCallback = Callable[[str | None, int, int, Any], None]  # node id, value, total, preview or None


class Interrupted(Exception):
    """The user asked for the run to stop."""


class ExecutionBlocker:
    """Returned by a node in place of a result: what depends on it is skipped, with a message or silently."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message


def models_named() -> list[str]:
    """What the variable IMAGEN_MODELS says, separated as in PATH."""
    return [part for part in os.environ.get("IMAGEN_MODELS", "").split(os.pathsep) if part]


def model_directories_of_environment() -> list[Path]:
    """The folders of the variable IMAGEN_MODELS. Raises ValueError for one that is not there."""
    return [folder_there(part, "IMAGEN_MODELS") for part in models_named()]


def default_input_directories() -> list[Path]:
    """./input, and the pack's own; the latter alone when the working folder was deleted."""
    here = [Path("input").absolute()] if working_folder_is_there() else []
    return [*here, PACK_ROOT / "input"]


def _default_temp_directory() -> Path:
    try:
        return Path(tempfile.gettempdir()) / f"imagen-{os.getpid()}"
    except OSError:  # nowhere; a run asks for a place that can be written, and says so
        return Path(os.devnull) / "imagen"


@dataclass(kw_only=True, eq=False)
class Runtime:
    """One host's folders and callbacks. `open_paths` lets a picture be named by any path, as a command line should."""

    input_directories: Sequence[Path] = field(default_factory=default_input_directories)
    output_directory: Path = field(default_factory=lambda: Path("output"))
    temp_directory: Path = field(default_factory=_default_temp_directory)
    model_directories: Sequence[Path] = field(default_factory=model_directories_of_environment)
    open_paths: bool = False
    preview: bool = False
    on_progress: ProgressCallback | None = None
    node_id: str | None = None  # the node that began last
    _stop: threading.Event = field(default_factory=threading.Event)

    def interrupt(self, stop: bool = True) -> None:
        """Ask the running node to stop at its next step, from any thread; False takes the request back."""
        (self._stop.set if stop else self._stop.clear)()

    def check_interrupt(self) -> None:
        if self._stop.is_set():
            self._stop.clear()
            raise Interrupted("stopped by the user")


_installed: list[Runtime] = []


def current() -> Runtime:
    """The runtime of the run in progress, or one for the working directory."""
    return _installed[-1] if _installed else Runtime()


@contextmanager
def use(runtime: Runtime) -> Iterator[Runtime]:
    """Make `runtime` the current one inside a `with` block."""
    _installed.append(runtime)
    try:
        yield runtime
    finally:
        _installed.remove(runtime)


_node: ContextVar[str | None] = ContextVar("node", default=None)


@contextmanager
def running(node: str) -> Iterator[None]:
    """Say which node the code inside a `with` block belongs to; coroutines that begin there remember it."""
    token = _node.set(node)
    try:
        yield
    finally:
        _node.reset(token)


def running_node() -> str | None:
    """The node that calls; in a thread of its own, the node that began last."""
    return _node.get() or current().node_id


class ProgressBar:
    """A node's progress; every update is also a place where the run can be stopped."""

    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total, self.value, self.node_id = total, 0, node_id

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        """Set the progress. `preview` is ("JPEG", PIL image, longest side) or None."""
        self.total = self.total if total is None else total
        self.value = min(value, self.total)
        runtime = current()
        if runtime.on_progress is not None:
            runtime.on_progress(self.node_id or running_node(), self.value, self.total, preview)
        runtime.check_interrupt()

    def update(self, n: int = 1) -> None:
        self.update_absolute(self.value + n)


def throw_exception_if_processing_interrupted() -> None:
    current().check_interrupt()


def wants_preview() -> bool:
    """Whether somebody looks at the previews that progress bars are given."""
    return current().preview


def get_input_directory() -> str:
    return str(current().input_directories[0])


def get_output_directory() -> str:
    return str(current().output_directory)


def get_temp_directory() -> str:
    return str(current().temp_directory)


def get_model_directories() -> list[str]:
    """Folders, besides the pack's own, where model files are looked for."""
    return [str(folder) for folder in current().model_directories]


def searched_directories(name: str) -> list[Path]:
    """The folders that a picture's name, which may end in [input], [output] or [temp], refers to."""
    runtime = current()
    kind = re.search(r" \[(input|output|temp)\]$", name)
    if kind is None or kind[1] == "input":
        return list(runtime.input_directories)
    return [runtime.output_directory if kind[1] == "output" else runtime.temp_directory]


def _find(name: str) -> Path | None:
    bare = re.sub(r" \[(input|output|temp)\]$", "", name)
    for folder in searched_directories(name):
        path = (folder / bare).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
    if not current().open_paths:
        return None
    try:
        path = place(bare)
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def get_annotated_filepath(name: str) -> str:
    """The path of a picture in the input folder, or in the folder that its ending in brackets names."""
    path = _find(name)
    if path is None:
        searched = ", ".join(map(str, searched_directories(name)))
        raise FileNotFoundError(f"no file {name!r} in {searched}: put it there, or name another")
    return str(path)


def exists_annotated_filepath(name: str) -> bool:
    return _find(name) is not None


def get_save_image_path(prefix: str, directory: str, width: int = 0, height: int = 0) -> tuple[str, str, int, str, str]:
    """Where a picture called `prefix` goes: (folder, file name without counter, next counter, subfolder, prefix).

    `prefix` may hold a subfolder and %width% %height% %year% %month% %day% %hour% %minute% %second%. Raises ValueError
    when it leads out of `directory` or nothing can be written there. Nothing is created.
    """
    now = time.localtime()
    tokens = {"width": width, "height": height, "year": now.tm_year}
    tokens |= {"month": f"{now.tm_mon:02}", "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}"}
    tokens |= {"minute": f"{now.tm_min:02}", "second": f"{now.tm_sec:02}"}
    prefix = re.sub(r"%(\w+)%", lambda token: str(tokens.get(token[1], token[0])), prefix).replace("\\", "/")
    root = Path(directory).resolve()
    subfolder, _, filename = prefix.rpartition("/")
    folder = (root / subfolder).resolve()
    if not folder.is_relative_to(root) or prefix.startswith("/") or "\0" in prefix or filename in (".", ".."):
        raise ValueError(f"filename prefix {prefix!r} leads out of {root}: use a name or a subfolder without '..'")
    if len(os.fsencode(filename)) > LONGEST_NAME:
        raise ValueError(f"filename prefix {filename!r:.40} is too long: use at most {LONGEST_NAME} bytes")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"{existing} is no folder that can be written: use another filename prefix or output folder")
    # The pictures of a batch share one counter; more digits than a counter has are somebody's own name.
    stem = re.escape(os.path.normcase(filename)).replace("%batch_num%", r"\d+")
    taken = re.compile(stem + r"_([0-9]{1,15})_")
    names = os.listdir(folder) if folder.is_dir() else []
    counters = [int(match[1]) for name in names if (match := taken.match(os.path.normcase(name)))]
    inside = "" if folder == root else folder.relative_to(root).as_posix()
    return str(folder), filename, max(counters, default=0) + 1, inside, prefix
