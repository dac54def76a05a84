"""What became of the prompts that ended, also after a restart?

One JSON line a prompt in a file that only grows while prompts end; it is written anew, to a temporary name first, when
entries go. A line that a crash cut short is dropped on reading.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from aiohttp import web

from ..whole_files import whole
from ._routes import answer, both, ids_of, read_object, whole_number
from .state import MEBIBYTE, ServerState

MOST_ENTRIES = 500
MOST_BYTES = 64 * MEBIBYTE


class History:
    """Entries by prompt id, oldest first, bounded in number and size. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.entries: dict[str, dict] = {}
        self.sizes: dict[str, int] = {}
        if path.is_file():
            for line in path.read_bytes().splitlines():
                self._read(line)
            self._drop_oldest()
            self._rewrite()
        self.written = len(self.entries)  # lines in the file

    def _read(self, line: bytes) -> None:
        try:
            prompt_id, entry = json.loads(line)
            if not isinstance(entry["prompt"], list) or not isinstance(entry["status"]["messages"], list):
                raise TypeError("an entry of another form")
        except (ValueError, TypeError, KeyError, RecursionError):
            logging.getLogger(__name__).warning("%s: a line that is no entry was dropped", self.path)
        else:
            self._keep(prompt_id, entry, len(line))

    def _keep(self, prompt_id: str, entry: dict, size: int) -> None:
        self.entries.pop(prompt_id, None)  # a repeated id is the newest
        self.entries[prompt_id], self.sizes[prompt_id] = entry, size

    def _drop_oldest(self) -> bool:
        dropped = False
        while len(self.entries) > MOST_ENTRIES or (len(self.entries) > 1 and sum(self.sizes.values()) > MOST_BYTES):
            self._drop(next(iter(self.entries)))
            dropped = True
        return dropped

    def _drop(self, prompt_id: str) -> None:
        self.entries.pop(prompt_id, None)
        self.sizes.pop(prompt_id, None)

    def add(self, prompt_id: str, entry: dict) -> None:
        """Keep an entry, in memory and in the file. A file that cannot be written is worth a warning, not a failure."""
        line = json.dumps([prompt_id, entry]).encode() + b"\n"
        with self.lock:
            self._keep(prompt_id, entry, len(line))
            self._drop_oldest()
            self.written += 1
            if self.written > 2 * MOST_ENTRIES:
                return self._rewrite()
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab") as file:
                    file.write(line)
            except OSError as error:
                logging.getLogger(__name__).warning("the history is not kept: %s", error)

    def remove(self, prompt_ids: Collection[str] | None = None) -> None:
        """Forget these entries, or all."""
        with self.lock:
            for prompt_id in list(self.entries if prompt_ids is None else prompt_ids):
                self._drop(prompt_id)
            self._rewrite()

    def _rewrite(self) -> None:
        try:
            with whole(self.path) as draft, open(draft, "wb") as file:
                file.writelines(json.dumps(item).encode() + b"\n" for item in self.entries.items())
            self.written = len(self.entries)
        except OSError as error:
            logging.getLogger(__name__).warning("the history is not kept: %s", error)

    def page(self, max_items: int | None = None, offset: int | None = None) -> dict[str, dict]:
        """Entries from number `offset` on (default: so that the newest come), at most `max_items` of them."""
        with self.lock:
            items = list(self.entries.items())
        if offset is None:
            offset = max(0, len(items) - max_items) if max_items is not None else 0
        return dict(items[offset:][:max_items])

    def get(self, prompt_id: str) -> dict | None:
        with self.lock:
            return self.entries.get(prompt_id)

    def __iter__(self) -> Iterator[dict]:
        with self.lock:
            return iter(list(self.entries.values()))


def add_routes(app: web.Application, state: ServerState) -> None:
    """Add /history and /history/{prompt_id}"""

    async def page(request: web.Request) -> web.Response:
        max_items, offset = (whole_number(request, name) for name in ("max_items", "offset"))
        return answer(state.queue.history.page(max_items, offset))

    async def one(request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = state.queue.history.get(prompt_id)
        return answer({} if entry is None else {prompt_id: entry})

    async def change(request: web.Request) -> web.Response:
        body = await read_object(request)
        if body.get("clear"):
            state.queue.history.remove()
        elif ids := ids_of(body, "delete"):
            state.queue.history.remove(ids)
        return web.Response()

    both(app.router, "GET", "/history", page)
    both(app.router, "GET", "/history/{prompt_id}", one)
    both(app.router, "POST", "/history", change)
