"""What became of the prompts that ended, also after a restart, and by whichever server on this user folder?

One JSON line a prompt in a file that grows; `[id, null]` takes an entry back. The file is written anew when half of it is no
longer needed, and at the start when a line in it is damaged: that line is dropped, the others are kept.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from ..json_text import as_text
from .entries import Entry, line_of, read_line
from .journal import Journal
from .turns import turn

MOST_ENTRIES = 500
MOST_BYTES = 64 * 2**20  # of all entries together
log = logging.getLogger(__name__)


class History:
    """Entries by prompt id, oldest first, bounded in number and size. For any thread; may wait for a disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock, self.journal = path, threading.RLock(), Journal(path)
        self.entries: dict[str, Entry] = {}
        self.bytes = self.lines = 0  # of the entries; in the file
        if path.exists():
            with self._writing():
                damaged = self._read(settled=True)
                if damaged or self._is_wasteful():
                    self._rewrite()

    def add(self, prompt_id: str, entry: Entry) -> None:
        """Keep an entry, in memory and in the file. A file that cannot be written is worth a warning, not a failure."""
        with self._writing():
            self._read(settled=True)
            self._keep(prompt_id, entry)
            self._append(prompt_id, entry)

    def remove(self, prompt_ids: Collection[str] | None = None) -> None:
        """Forget these entries, or all."""
        with self._writing():
            self._read(settled=True)
            if prompt_ids is None:
                self._forget_all()
                return self._rewrite()
            for prompt_id in prompt_ids:
                if prompt_id in self.entries:
                    self._drop(prompt_id)
                    self._append(prompt_id, None)

    def page(self, max_items: int | None = None, offset: int | None = None) -> bytes:
        """As JSON the entries from number `offset` on (default: so that the newest come), at most `max_items` of them."""
        items = list(self.current().items())
        if offset is None:
            offset = max(0, len(items) - max_items) if max_items is not None else 0
        return as_object(dict(items[offset:][:max_items]))

    def get(self, prompt_id: str) -> Entry | None:
        return self.current().get(prompt_id)

    def current(self) -> dict[str, Entry]:
        """All entries as they are now, with what other servers wrote since."""
        with self.lock:
            self._read(settled=False)
            return dict(self.entries)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """This thread's and this process's turn; without the latter where the folder takes no lock."""
        with self.lock, contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                stack.enter_context(turn(self.path.parent))
            try:
                yield
            except OSError as error:
                log.warning("the history is not kept: %s", error)

    def _read(self, settled: bool) -> bool:
        """Take in what is new in the file; returns whether something in it was damaged."""
        try:
            anew, lines = self.journal.news(settled)
        except OSError as error:
            log.warning("the history cannot be read: %s", error)
            return False
        if anew:
            self._forget_all()
        wrong = [reason for line in lines if (reason := self._take(line))]
        self.lines += len(lines)
        if wrong:
            log.warning(
                "%s: lines that are no entries were dropped: %d, the first: %s", self.path, len(wrong), wrong[0]
            )
        return bool(wrong)

    def _take(self, line: bytes) -> str | None:
        """Take in one line; returns what is wrong with it, if anything is."""
        try:
            prompt_id, entry = read_line(line)
        except ValueError as error:
            return str(error)
        if entry is None:
            self._drop(prompt_id)
        else:
            self._keep(prompt_id, entry)
        return None

    def _keep(self, prompt_id: str, entry: Entry) -> None:
        self._drop(prompt_id)  # a repeated id is the newest
        self.entries[prompt_id] = entry
        self.bytes += len(entry.text)
        while len(self.entries) > MOST_ENTRIES or (len(self.entries) > 1 and self.bytes > MOST_BYTES):
            self._drop(next(iter(self.entries)))

    def _drop(self, prompt_id: str) -> None:
        entry = self.entries.pop(prompt_id, None)
        self.bytes -= len(entry.text) if entry is not None else 0

    def _forget_all(self) -> None:
        self.entries, self.bytes, self.lines = {}, 0, 0

    def _append(self, prompt_id: str, entry: Entry | None) -> None:
        self.lines += 1
        if self._is_wasteful():
            return self._rewrite()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.journal.append(line_of(prompt_id, entry))

    def _is_wasteful(self) -> bool:
        return self.lines > 2 * MOST_ENTRIES or self.journal.offset > 2 * MOST_BYTES

    def _rewrite(self) -> None:
        self.journal.rewrite(line_of(prompt_id, entry) for prompt_id, entry in self.entries.items())
        self.lines = len(self.entries)


def as_object(entries: dict[str, Entry]) -> bytes:
    """The JSON of entries by id."""
    return b"{" + b", ".join(as_text(key).encode() + b": " + entry.text for key, entry in entries.items()) + b"}"
