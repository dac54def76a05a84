"""Who draws which job, and what if a worker is lost in the middle?

Each worker has a thread that hires it, hands it one job at a time, and hires anew when it is lost; a lost job goes back
and is given out again. Jobs are made when a worker is free, and a worker waits until its result was taken: nothing piles up.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .plan import Job

MOST_LOSSES = 3  # workers that one job may take with it, and that a thread may lose in a row
PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker is hired anew, doubled each time
LOOK_UP = 0.1  # seconds
Picture = tuple[str, bytes]  # ending and file


class WorkerLost(Exception):
    """A worker is gone or cannot be had; the job it had is as it was."""


class JobFailed(Exception):
    """The job cannot be done as it is, whoever tries."""


@dataclass(frozen=True)
class Task:
    """What a worker is given: the prompt, and the graph to save in its pictures."""

    prompt: dict
    graph: dict | None


class Worker(Protocol):
    """Draws one job at a time; knows what its prompts have in common, so that models are loaded once."""

    name: str

    def draw(self, task: Task) -> list[Picture]:
        """The pictures that a prompt saves. Raises WorkerLost and JobFailed."""

    def close(self) -> None:
        """Stop what it does, from any thread."""


Hire = Callable[[], Worker]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A job that is over: with its pictures, or an error."""

    job: Job
    pictures: list[Picture]
    error: str
    worker: str
    seconds: float


class Crew:
    """Workers for a list of jobs; iterate to have the results as they come. A context manager: all end with it.

    `hires`: a function for each worker, which may be called again, and may wait.
    """

    def __init__(self, jobs: Iterable[Job], task_of: Callable[[Job], Task], hires: Sequence[Hire]) -> None:
        self.jobs, self.task_of = iter(jobs), task_of
        self.changed = threading.Condition()
        self.again: deque[Job] = deque()  # jobs whose worker was lost
        self.losses: dict[str, int] = {}  # by key
        self.running, self.exhausted, self.stopped = 0, False, False
        self.workers: list[Worker] = []
        self.results: queue.Queue[Result | Exception] = queue.Queue(maxsize=len(hires))
        self.reasons: list[str] = []  # why threads gave up
        self.threads = [threading.Thread(target=self._lane, args=[hire], daemon=True) for hire in hires]

    def __enter__(self) -> Crew:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self.changed:
            self.stopped = True
            workers = list(self.workers)
            self.changed.notify_all()
        for worker in workers:
            worker.close()
        for thread in self.threads:
            thread.join(timeout=2.0)

    def __iter__(self) -> Iterator[Result]:
        """Raises WorkerLost when nobody is left to do the rest."""
        while True:
            try:
                result = self.results.get(timeout=LOOK_UP)
            except queue.Empty:
                if self._is_over():
                    return
                if not any(thread.is_alive() for thread in self.threads) and self.results.empty():
                    raise WorkerLost(f"no worker is left: {'; '.join(dict.fromkeys(self.reasons))}") from None
                continue
            if isinstance(result, Exception):
                raise result
            with self.changed:
                self.running -= 1
                self.changed.notify_all()
            yield result

    def _is_over(self) -> bool:
        with self.changed:
            return self.exhausted and not self.again and not self.running

    def _lane(self, hire: Hire) -> None:
        try:
            self._work(hire)
        except Exception as error:  # our own fault: whoever iterates is told
            self.results.put(error)

    def _work(self, hire: Hire) -> None:
        lost = 0
        while not self.stopped and not self._is_over():
            worker = None
            try:
                worker = self._hired(hire)
                while (job := self._next()) is not None:
                    self._draw(worker, job)
                    lost = 0
                return
            except WorkerLost as error:
                lost += 1
                if lost == MOST_LOSSES:
                    self.reasons.append(str(error))
                    return
                self._pause(min(PAUSE * 2**lost, LONGEST_PAUSE))
            finally:
                self._dismiss(worker)

    def _hired(self, hire: Hire) -> Worker:
        worker = hire()
        with self.changed:
            self.workers.append(worker)
        if self.stopped:
            raise WorkerLost("stopped")
        return worker

    def _dismiss(self, worker: Worker | None) -> None:
        if worker is not None:
            with self.changed:
                self.workers.remove(worker)
            worker.close()

    def _pause(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.stopped, timeout=seconds)

    def _next(self) -> Job | None:
        """The next job; None when all are over. Waits while one that runs may come back."""
        with self.changed:
            while not self.stopped:
                job = self.again.popleft() if self.again else None if self.exhausted else next(self.jobs, None)
                if job is not None:
                    self.running += 1
                    return job
                self.exhausted = True
                if not self.running:
                    return None
                self.changed.wait()
            return None

    def _draw(self, worker: Worker, job: Job) -> None:
        start, pictures, error, loss = time.monotonic(), [], "", None
        try:
            pictures = worker.draw(self.task_of(job))
            error = "" if pictures else "the workflow saved no picture"
        except JobFailed as failure:
            error = str(failure)
        except WorkerLost as gone:
            loss, error = gone, self._lose(job, gone)
        if loss is None or error:
            seconds = time.monotonic() - start
            self._hand_in(Result(job=job, pictures=pictures, error=error, worker=worker.name, seconds=seconds))
        if loss is not None:
            raise loss

    def _lose(self, job: Job, loss: WorkerLost) -> str:
        """Give a job back; what is wrong with it, when too many were lost on it."""
        with self.changed:
            self.losses[job.key] = self.losses.get(job.key, 0) + 1
            if self.losses[job.key] >= MOST_LOSSES and not self.stopped:
                return f"{MOST_LOSSES} workers were lost on it, the last: {loss}"
            self.running -= 1
            self.again.append(job)
            self.changed.notify_all()
            return ""

    def _hand_in(self, result: Result) -> None:
        while not self.stopped:
            with contextlib.suppress(queue.Full):
                return self.results.put(result, timeout=LOOK_UP)
