"""Where do the editor's settings live? In comfy.settings.json, as ComfyUI keeps them, which several servers may share.

A change is merged into what the file holds at that moment. Of a damaged file what can be read is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

from .. import whole_files
from ..jobs.turns import turn
from ..validation import finite

FILE = "comfy.settings.json"
DAMAGED = "comfy.settings.damaged.json"  # a copy of what could not be read whole, made before it is replaced
LARGEST = 4 * 2**20  # bytes of the file
# A blank graph and the template browser are the first screen; the editor's own start is a graph of nodes we lack.
FIRST_SCREEN = {"Comfy.TutorialCompleted": False}
DEFAULTS = {
    "Comfy.Notification.ShowVersionUpdates": False,  # would ask ComfyUI's makers for news
    "LiteGraph.Canvas.MinFontSizeForLOD": 6,  # pixels: a whole cascade in one window still shows its text
}
NO_TEXT = "\ufffd"  # what stands for bytes that are no UTF-8
ENTRY = re.compile(r'^([ \t]*)("(?:[^"\\\n]|\\.)*")[ \t]*:[ \t]*', re.MULTILINE)
AFTER_ENTRY = re.compile(r"\s*(,|\}|$)")


class TooLarge(Exception):
    """More than the file may hold."""

    def __init__(self) -> None:
        super().__init__(f"settings of more than {LARGEST // 2**20} MiB are not kept")


class Settings:
    """The settings of a user folder. May be used from any thread; reads the file anew when it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.lock = folder, folder / FILE, threading.Lock()
        self.stored: dict[str, Any] = {}
        self.damaged: bytes | None = None
        self.seen: tuple | None = None  # the file that `stored` was read from

    def all(self) -> dict[str, Any]:
        """Every setting that has a value."""
        with self.lock:
            self._read()
            return DEFAULTS | self.stored | FIRST_SCREEN

    def change(self, values: dict[str, Any]) -> None:
        """Set some settings and leave the others. Raises OSError, and TooLarge when they become too many."""
        with self.lock, turn(self.folder):
            self._read()
            data = json.dumps(self.stored | values, indent=2).encode()
            if len(data) > LARGEST:
                raise TooLarge
            if self.damaged is not None:
                whole_files.write(self.folder / DAMAGED, self.damaged)
            whole_files.write(self.path, data)

    def _read(self) -> None:
        seen, data = None, b"{}"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = self.path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self.seen:
                return
            data = self.path.read_bytes() if self.path.is_file() and status.st_size <= LARGEST else b""
        self.stored, whole = read(data)
        self.seen, self.damaged = seen, None if whole else data
        if not whole:
            logging.getLogger(__name__).warning(
                "%s is damaged: %d settings in it can be read, the rest is dropped", self.path, len(self.stored)
            )


def read(data: bytes) -> tuple[dict[str, Any], bool]:
    """The settings in a file's bytes, and whether they are all that was in it. Never raises."""
    text = data.decode("utf-8-sig", "replace")
    lost = NO_TEXT if text.count(NO_TEXT) > data.count(NO_TEXT.encode()) else None
    try:
        found = json.loads(text)
        whole = isinstance(found, dict)
    except (ValueError, RecursionError):
        found, whole = _salvaged(text), False
    entries = found.items() if isinstance(found, dict) else ()
    sound = {name: value for name, value in entries if finite(value) and not (lost and lost in f"{name}{value}")}
    return sound, whole and len(sound) == len(entries)


def _salvaged(text: str) -> dict[str, Any]:
    """The entries of a damaged file that are whole: each begins a line, as far in as the first one."""
    found, decoder, margin = {}, json.JSONDecoder(), None
    for match in ENTRY.finditer(text):
        margin = match[1] if margin is None else margin
        with contextlib.suppress(ValueError, RecursionError):
            value, end = decoder.raw_decode(text, match.end())
            if match[1] == margin and AFTER_ENTRY.match(text, end):
                found[json.loads(match[2])] = value
    return found
