"""How does a command end when it is told to: by Ctrl-C, by `kill`, or because its terminal was closed?

All three as Ctrl-C does: what is being written is taken away, what runs is stopped, and the exit code says which.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

NAMES = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """The process was told to end by signal `number`."""


class Told:
    """`number`: the signal that has come, or None."""

    number: int | None = None


@contextlib.contextmanager
def by_signals() -> Iterator[Told]:
    """Raise Ended in the main thread when a signal comes. A second one ends the process at once."""
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def end(number: int, frame: object) -> None:
        told.number = number
        signal.signal(number, signal.SIG_DFL)
        raise Ended

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number in numbers if before[number] == signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in heeded:
        signal.signal(number, end)
    try:
        yield told
    finally:
        for number in heeded:
            signal.signal(number, before[number])
