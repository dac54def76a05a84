"""How does `async def` code of nodes run beside code that is not? On a loop that turns between nodes and while we wait.

Nodes with plain functions run outside of it, so that they may use a loop of their own, and Ctrl-C stops them at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

LOOK_UP = 0.1  # seconds between two looks at whether the run should stop
FAREWELL = 2.0  # seconds that cancelled coroutines have to end


class Awaiter:
    """Runs coroutines on the calling thread. A context manager: what still runs at its end is cancelled."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # most runs need none
        self._tasks: set[asyncio.Task] = set()  # those that run

    def __enter__(self) -> Awaiter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._loop is None:
            return
        for task in self._tasks:
            task.cancel()
        try:
            if self._tasks:
                self._loop.run_until_complete(asyncio.wait(set(self._tasks), timeout=FAREWELL))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def start(self, answer: Any) -> Any:
        """A coroutine as a task that has gone as far as it could without waiting; any other answer as it is."""
        if not inspect.iscoroutine(answer):
            return answer
        if self._loop is None:
            self._loop, self._ended = asyncio.new_event_loop(), asyncio.Event()
        task = self._loop.create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        self.turn()
        return task

    def _end(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        self._ended.set()
        if not task.cancelled():
            task.exception()  # seen, though the run may end before anybody asks for it

    def turn(self) -> None:
        """Let every coroutine go on as far as it can without waiting."""
        if self._tasks:
            self._loop.run_until_complete(asyncio.sleep(0))

    def wait(self, until: Callable[[], bool], check: Callable[[], None] = lambda: None) -> None:
        """Run coroutines until a condition holds that one's end brings about; `check` is called meanwhile and may raise."""
        while not until():
            self._loop.run_until_complete(self._pause())
            check()

    async def _pause(self) -> None:
        """Until a task ends, or somebody should look up."""
        self._ended.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), LOOK_UP)

    def finish(self, answers: list, check: Callable[[], None] = lambda: None) -> list:
        """The answers with the result of each task in its place, once all are done. Raises what a task raised."""
        self.wait(lambda: not running(answers), check)
        return [answer.result() if isinstance(answer, asyncio.Task) else answer for answer in answers]


def running(answers: Iterable[Any]) -> list[asyncio.Task]:
    """The tasks among these answers that are not done."""
    return [answer for answer in answers if isinstance(answer, asyncio.Task) and not answer.done()]
