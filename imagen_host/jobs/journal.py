"""How do several processes share a file of lines? Each appends to it, reads what it has not read yet, and may rewrite it.

Whoever writes holds the folder's lock (turns.py). A file that another process wrote anew is known by the bytes before the
place read so far, which are no longer the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ..whole_files import whole

LONGEST_LINE = 128 * 2**20  # bytes
REMEMBERED = 200  # bytes


class Journal:
    """The file as far as this process has read it. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.before = path, 0, b""
        self.seen: tuple | None = None

    def news(self, settled: bool) -> tuple[bool, list[bytes]]:
        """Whether the file was written anew, and the lines not read before.

        With `settled`, while nobody else can write, what follows the last line's end is a line too: a crash cut it short.
        """
        stamp = self._stamp()
        if stamp is None:
            anew, self.offset, self.before = self.offset > 0, 0, b""
            return anew, []
        if stamp == self.seen and not settled:
            return False, []
        with open(self.path, "rb") as file:
            anew = not self._goes_on(file)
            if anew:
                self.offset = 0
            file.seek(self.offset)
            lines = list(self._lines(file, settled))
            self._stand_at(file, self.offset)
        self.seen = stamp
        return anew, lines

    def append(self, line: bytes) -> None:
        """Write a line at the end; all that was there must have been read as settled."""
        with open(self.path, "ab+") as file:
            end = file.seek(0, os.SEEK_END)
            try:
                file.write((b"" if self._ends_line(file, end) else b"\n") + line + b"\n")
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):  # half a line would spoil the next
                    os.ftruncate(file.fileno(), end)
                raise
            self._stand_at(file, file.tell())
        self.seen = self._stamp()

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the file by these lines."""
        with whole(self.path) as draft, open(draft, "wb") as file:
            file.writelines(line + b"\n" for line in lines)
        with open(self.path, "rb") as file:
            self._stand_at(file, file.seek(0, os.SEEK_END))
        self.seen = self._stamp()

    def _stamp(self) -> tuple | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _goes_on(self, file: IO[bytes]) -> bool:
        file.seek(self.offset - len(self.before))
        return file.read(len(self.before)) == self.before

    def _stand_at(self, file: IO[bytes], offset: int) -> None:
        self.offset = offset
        start = max(0, offset - REMEMBERED)
        file.seek(start)
        self.before = file.read(offset - start)

    def _lines(self, file: IO[bytes], settled: bool) -> Iterator[bytes]:
        while line := file.readline(LONGEST_LINE):
            if not line.endswith(b"\n") and len(line) < LONGEST_LINE and not settled:
                return  # somebody is writing it
            self.offset = file.tell()
            yield line.rstrip(b"\r\n")

    @staticmethod
    def _ends_line(file: IO[bytes], end: int) -> bool:
        if end == 0:
            return True
        file.seek(end - 1)
        return file.read(1) == b"\n"
