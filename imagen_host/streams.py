"""What becomes of a command's output when nobody takes it: a closed stdout or stderr, a reader that left, a full disk?

What goes to stderr is lost in silence, because a run must not die of its progress bar. What goes to stdout is what the
command was asked for: a reader that has had enough is fine, anything else is an error, said once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


def say(line: str) -> None:
    """Tell the user something that is not the command's output."""
    print(line, file=sys.stderr)


class OutputLost(Exception):
    """stdout takes no more. `reason`: the OSError."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"stdout cannot be written: {reason.strerror or reason}")
        self.reader_left = isinstance(reason, BrokenPipeError)


class _Stream:
    """A text stream whose failures to write go to `failed`; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self.failed(error)
        return len(text)

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError) -> None:
        """Nothing more goes there, not even what is still in its buffer when the process ends."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Output(_Stream):
    def failed(self, error: OSError) -> None:
        super().failed(error)
        raise OutputLost(error) from error


@contextlib.contextmanager
def standing() -> Iterator[None]:
    """Streams that stand what is above, for the length of a command."""
    _open_closed()
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show must not end a run
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _Output(before[0]), _Stream(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed: else the next file opened is taken for it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                pass  # a lower one is closed too, and is opened so
            if opened != number:
                os.close(opened)
        stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, stream)
