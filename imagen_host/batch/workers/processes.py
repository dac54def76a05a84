"""Workers that are processes of this machine, begun anew (spawn): each with its own engine and models.

Parent and child speak JSON and plain bytes over a pipe. A child that ends for whatever reason closes it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.connection import Connection

from ..crew import Hire, JobFailed, Picture, Task, WorkerLost
from .drawing import Settings, drawer

READY = b"ready"


def hires(count: int, settings: Settings, devices: int = 0) -> list[Hire]:
    """So many workers. Cores are divided among them, and GPUs, of which there are `devices`, dealt out."""
    own = replace(settings, threads=settings.threads or _threads(count))
    named = _devices(devices) if devices > 1 else [""]
    each = [replace(own, device=named[i % len(named)]) for i in range(count)]
    return [functools.partial(ProcessWorker, f"process {i}", one) for i, one in enumerate(each, start=1)]


def _threads(count: int) -> int:
    """Of one of so many workers; as OMP_NUM_THREADS says, where it says something."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if "OMP_NUM_THREADS" in os.environ else max(1, cores // count)


def _devices(count: int) -> list[str]:
    """GPUs as CUDA calls them: those that the user made visible, or all."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name] or [
        str(i) for i in range(count)
    ]


class ProcessWorker:
    """One process."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Waits until it is ready. Raises WorkerLost."""
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=[theirs, json.dumps(asdict(settings))], daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the child
        answer = self._received()
        if answer != READY:
            raise WorkerLost(f"{name} cannot begin: {answer.decode()}")

    def draw(self, task: Task) -> list[Picture]:
        with self._lost_with_its_pipe():
            self.pipe.send_bytes(json.dumps({"prompt": task.prompt, "graph": task.graph}).encode())
        answer = json.loads(self._received())
        if "error" in answer:
            raise JobFailed(answer["error"])
        return [(ending, self._received()) for ending in answer["endings"]]

    def close(self) -> None:
        self.process.kill()  # whatever it draws can be drawn again

    def _received(self) -> bytes:
        with self._lost_with_its_pipe():
            return self.pipe.recv_bytes()

    @contextlib.contextmanager
    def _lost_with_its_pipe(self):
        try:
            yield
        except (EOFError, OSError):
            self.process.join(timeout=5.0)
            raise WorkerLost(f"{self.name} ended ({_how(self.process.exitcode)})") from None


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-code).name}" + (", as when memory runs out" if code == -9 else "")
    return f"with exit code {code}"


def serve(pipe: Connection, settings: str) -> None:
    """What the child does, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    told = json.loads(settings)
    with contextlib.suppress(EOFError, BrokenPipeError), contextlib.ExitStack() as stack:
        try:
            draw = stack.enter_context(drawer(Settings(**told)))
        except (ValueError, OSError) as error:
            return pipe.send_bytes(str(error).encode())
        pipe.send_bytes(READY)
        while True:
            _answer(pipe, draw, json.loads(pipe.recv_bytes()))


def _answer(pipe: Connection, draw: Callable, request: dict) -> None:
    try:
        pictures = draw(request["prompt"], request["graph"])
    except JobFailed as error:
        return pipe.send_bytes(json.dumps({"error": str(error)}).encode())
    pipe.send_bytes(json.dumps({"endings": [ending for ending, _ in pictures]}).encode())
    for _, data in pictures:
        pipe.send_bytes(data)
