"""Which prompt runs now, which wait, and in what order? One worker thread runs them one after the other."""

from __future__ import annotations

import gc
import heapq
import itertools
import logging
import threading
import traceback
from dataclasses import dataclass, field

from ..cache import Cache
from ..engine import SUCCESS, Engine, Failure
from .history import History
from .progress import Announcer, as_json
from .state import MEBIBYTE
from .websocket import Clients

MOST_WAITING = 1000  # prompts
MOST_BYTES = 256 * MEBIBYTE  # of all waiting prompts together


class QueueFull(Exception):
    """So many prompts wait that no more is taken."""


@dataclass(kw_only=True, eq=False)
class Job:
    """A checked prompt. A lower `number` runs earlier; `size` is that of its request, in bytes."""

    number: float
    prompt_id: str
    prompt: dict
    outputs: list[str]
    extra_data: dict = field(default_factory=dict)
    size: int = 0

    @property
    def sid(self) -> str | None:
        return self.extra_data.get("client_id")

    def item(self) -> list:
        """The job as /queue and the history show it."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


class PromptQueue:
    """The prompts that wait and the thread that runs them. May be used from any thread."""

    def __init__(self, engine: Engine, clients: Clients, history: History) -> None:
        self.engine, self.clients, self.history = engine, clients, history
        self.changed = threading.Condition()
        self.waiting: list[tuple[float, int, Job]] = []  # a heap
        self.arrivals = itertools.count()
        self.running: Job | None = None
        self.announcer: Announcer | None = None
        self.free = self.closed = False
        self.worker = threading.Thread(target=self._work, name="imagen-worker", daemon=True)

    def put(self, job: Job) -> None:
        """Queue a job. Raises QueueFull, and ValueError when one of that id waits or runs already."""
        with self.changed:
            size = sum(waiting.size for *_, waiting in self.waiting)
            if len(self.waiting) >= MOST_WAITING or size + job.size > MOST_BYTES:
                raise QueueFull
            if any(other.prompt_id == job.prompt_id for part in self.split() for other in part):
                raise ValueError(f"a prompt with the id {job.prompt_id!r:.80} is in the queue: leave prompt_id out")
            heapq.heappush(self.waiting, (job.number, next(self.arrivals), job))
            self._tell_status()
            self.changed.notify()

    def split(self) -> tuple[list[Job], list[Job]]:
        """The job that runs, if any, and those that wait, in order."""
        with self.changed:
            return [self.running] if self.running else [], [job for *_, job in sorted(self.waiting)]

    def status(self) -> dict:
        """The data of a `status` message."""
        with self.changed:
            return {"status": {"exec_info": {"queue_remaining": len(self.waiting) + (self.running is not None)}}}

    def executing(self, sid: str) -> dict | None:
        """What a client whose prompt runs missed: the node that runs now."""
        with self.changed:
            return self.announcer.executing if self.running and self.announcer.sid == sid else None

    def cancel(self, prompt_id: str) -> bool:
        """Take a waiting job back, or interrupt it if it runs; False when there is no such job."""
        with self.changed:
            return self.remove([prompt_id]) or self.interrupt(prompt_id)

    def remove(self, prompt_ids: list[str] | None = None) -> bool:
        """Take these waiting jobs back, or all."""
        with self.changed:
            kept = [] if prompt_ids is None else [item for item in self.waiting if item[2].prompt_id not in prompt_ids]
            removed = len(kept) < len(self.waiting)
            self.waiting = kept
            heapq.heapify(self.waiting)
            if removed:
                self._tell_status()
            return removed

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Stop the running job, if it is the one named or none is named."""
        with self.changed:
            hit = self.running is not None and prompt_id in (None, self.running.prompt_id)
            if hit:
                self.engine.host.interrupt()
            return hit

    def forget(self) -> None:
        """Let go of cached results, and so of loaded models, as soon as nothing runs."""
        with self.changed:
            self.free = True
            self.changed.notify()

    def close(self, seconds: float = 1.0) -> bool:
        """Interrupt what runs and start nothing more; True when the worker ended in time."""
        with self.changed:
            self.closed = True
            self.interrupt()
            self.changed.notify()
        if self.worker.is_alive():
            self.worker.join(seconds)
        return not self.worker.is_alive()

    def _tell_status(self) -> None:
        self.clients.send("status", self.status())

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self.history.add(job.prompt_id, self._run(job))
            except BaseException:  # our own fault, or a node that calls sys.exit; the server lives on
                logging.getLogger(__name__).exception("prompt %s could not be run", job.prompt_id)
            self._done(job)

    def _next(self) -> Job | None:
        """Wait for the next job; None when the server closes."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.free or self.waiting)
                if self.closed:
                    return None
                free, self.free = self.free, False
                if not free:
                    *_, job = heapq.heappop(self.waiting)
                    self.running, self.announcer = job, Announcer(self.clients, job.prompt_id, job.sid)
                    self._tell_status()
                    return job
            self._let_go()

    def _let_go(self) -> None:
        import torch

        self.engine.cache = Cache()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run(self, job: Job) -> dict:
        """Run a job; returns its entry for the history."""
        self.engine.on_event = self.announcer
        result = self.engine.run(job.prompt, job.outputs, prompt_id=job.prompt_id, extra_data=job.extra_data)
        if result.failure is not None:
            _log(result.failure)
            result.failure = None  # its traceback holds the tensors of the failed node
            gc.collect()
        success = result.status == SUCCESS
        status = {"status_str": "success" if success else "error", "completed": success}
        return {
            "prompt": job.item(),
            "outputs": as_json(result.ui),
            "status": {**status, "messages": self.announcer.kept},
            "meta": result.meta,
        }

    def _done(self, job: Job) -> None:
        with self.changed:
            self.running = None
            self.engine.host.interrupt(False)  # one that came too late for this job must not hit the next
            self._tell_status()
        if job.sid is not None:
            self.clients.send("executing", {"node": None, "prompt_id": job.prompt_id}, job.sid)


def _log(failure: Failure) -> None:
    error = failure.exception
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    logging.getLogger(__name__).error("node %s (%s) failed\n%s", failure.node, failure.class_type, text)
