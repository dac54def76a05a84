"""Which prompt runs now, which wait, and in what order? One worker thread runs them one after the other."""

from __future__ import annotations

import gc
import heapq
import itertools
import logging
import threading
import traceback

from ..execution.cache import Cache
from ..execution.engine import SUCCESS, Engine, Failure
from .entries import Entry, Job, make
from .history import History
from .listeners import Listeners
from .progress import Announcer, as_json

MOST_WAITING = 10_000  # prompts
MOST_BYTES = 256 * 2**20  # of all waiting prompts together


class QueueFull(Exception):
    """So many prompts wait that no more is taken."""


class PromptQueue:
    """The prompts that wait and the thread that runs them. May be used from any thread."""

    def __init__(self, engine: Engine, listeners: Listeners, history: History) -> None:
        self.engine, self.listeners, self.history = engine, listeners, history
        self.changed = threading.Condition()
        self.waiting: dict[str, Job] = {}  # by prompt id
        self.order: list[tuple[float, int, Job]] = []  # a heap; jobs that were taken back are passed over
        self.arrivals = itertools.count()
        self.bytes = 0  # of the requests that wait
        self.running: Job | None = None
        self.announcer: Announcer | None = None
        self.free = self.closed = False
        self.worker = threading.Thread(target=self._work, name="imagen-worker", daemon=True)

    def put(self, job: Job) -> None:
        """Queue a job. Raises QueueFull, and ValueError when one of that id waits or runs already."""
        with self.changed:
            if len(self.waiting) >= MOST_WAITING or self.bytes + job.size > MOST_BYTES:
                raise QueueFull
            if job.prompt_id in self.waiting or self._runs(job.prompt_id):
                raise ValueError(f"a prompt with the id {job.prompt_id!r:.80} is in the queue: leave prompt_id out")
            self.waiting[job.prompt_id] = job
            self.bytes += job.size
            heapq.heappush(self.order, (job.number, next(self.arrivals), job))
            self._tell_status()
            self.changed.notify()

    def split(self) -> tuple[list[Job], list[Job]]:
        """The job that runs, if any, and those that wait, in order."""
        with self.changed:
            self.order = sorted(item for item in self.order if self._waits(item[2]))  # sorted, it is a heap too
            return [self.running] if self.running else [], [job for *_, job in self.order]

    def find(self, prompt_id: str) -> tuple[Job | None, str]:
        """The job of that id that runs or waits, and its status; None for no such job."""
        with self.changed:
            if self._runs(prompt_id):
                return self.running, "in_progress"
            return self.waiting.get(prompt_id), "pending"

    def status(self) -> dict:
        """The data of a `status` message."""
        with self.changed:
            return {"status": {"exec_info": {"queue_remaining": len(self.waiting) + (self.running is not None)}}}

    def executing(self, sid: str) -> dict | None:
        """What a client whose prompt runs missed: the node that runs now."""
        with self.changed:
            return self.announcer.executing if self.running and self.announcer.sid == sid else None

    def cancel(self, prompt_ids: list[str]) -> list[str]:
        """Take waiting jobs back and interrupt the one that runs, if it is among them; returns those that were there."""
        with self.changed:
            removed = set(self.remove(prompt_ids))
            return [name for name in dict.fromkeys(prompt_ids) if name in removed or self._stop(name)]

    def remove(self, prompt_ids: list[str] | None = None) -> list[str]:
        """Take these waiting jobs back, or all; returns which were waiting."""
        with self.changed:
            removed = [name for name in dict.fromkeys(prompt_ids or []) if name in self.waiting]
            removed = list(self.waiting) if prompt_ids is None else removed
            for name in removed:
                self.bytes -= self.waiting.pop(name).size
            if len(self.order) > 2 * len(self.waiting):
                self.split()
            if removed:
                self._tell_status()
            return removed

    def _waits(self, job: Job) -> bool:
        return self.waiting.get(job.prompt_id) is job

    def _runs(self, prompt_id: str) -> bool:
        return self.running is not None and self.running.prompt_id == prompt_id

    def _stop(self, prompt_id: str) -> bool:
        return self._runs(prompt_id) and self.interrupt(prompt_id)

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
        self.listeners.send("status", self.status())

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
                    return self._start()
            self._let_go()

    def _start(self) -> Job:
        """The first job that waits becomes the one that runs."""
        *_, job = heapq.heappop(self.order)
        while not self._waits(job):
            *_, job = heapq.heappop(self.order)
        del self.waiting[job.prompt_id]
        self.bytes -= job.size
        self.running, self.announcer = job, Announcer(self.listeners, job.prompt_id, job.sid)
        self._tell_status()
        return job

    def _let_go(self) -> None:
        import torch

        self.engine.cache = Cache()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run(self, job: Job) -> Entry:
        """Run a job; returns its entry for the history."""
        self.engine.on_event = self.announcer
        result = self.engine.run(job.prompt, job.outputs, prompt_id=job.prompt_id, extra_data=job.extra_data)
        if result.failure is not None:
            _log(result.failure)
            result.failure = None  # its traceback holds the tensors of the failed node
            gc.collect()
        success = result.status == SUCCESS
        status = {"status_str": "success" if success else "error", "completed": success}
        status |= {"messages": self.announcer.kept}
        return make(job, {"outputs": as_json(result.ui), "status": status, "meta": result.meta})

    def _done(self, job: Job) -> None:
        with self.changed:
            self.running = None
            self.engine.host.interrupt(False)  # one that came too late for this job must not hit the next
            self._tell_status()
        if job.sid is not None:
            self.listeners.send("executing", {"node": None, "prompt_id": job.prompt_id}, job.sid)


def _log(failure: Failure) -> None:
    """A line for what the prompt asked for and cannot be had, a traceback for all else."""
    error = failure.exception
    text = " ".join(str(error).split())[:1000] or type(error).__name__
    if not isinstance(error, (ValueError, OSError)):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    logging.getLogger(__name__).error("node %s (%s) failed: %s", failure.node, failure.class_type, text)
