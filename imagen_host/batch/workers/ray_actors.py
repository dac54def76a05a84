"""Workers that are actors of a Ray cluster: an existing one by its address, or one that begins and ends with the batch.

Pictures come back through Ray's object store, so that machines need share no folder; every machine needs the pack and the
models. An actor that is lost with its machine is begun anew wherever there is room.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ... import runtime
from ..crew import Hire, JobFailed, Picture, Task, WorkerLost
from .drawing import Settings, drawer

LOCAL = "local"
PASSED_ON = ("IMAGEN_PACK", "IMAGEN_MODELS", "IMAGEN_CACHE", "OMP_NUM_THREADS")


@contextlib.contextmanager
def cluster(
    address: str, settings: Settings, *, count: int = 0, cpus: float = 1, gpus: float = 0
) -> Iterator[list[Hire]]:
    """The hires of a cluster; `count` 0: as many actors as it has room for. Raises ValueError when there is none."""
    try:
        import ray
    except ImportError:
        raise ValueError("--ray needs the ray package: pip install -e '.[farm]'") from None
    own = not ray.is_initialized()
    if own:
        _connect(ray, address)
    try:
        room = count or _room(ray.cluster_resources(), cpus, gpus)
        if not room:
            raise ValueError(
                f"--ray {address}: no machine has {cpus:g} CPUs and {gpus:g} GPUs for an actor: ask for less"
            )
        make = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Actor)
        yield [functools.partial(ActorWorker, f"actor {i}", ray, make, settings) for i in range(1, room + 1)]
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Other machines import the pack from where it is installed there, this one from where we are."""
    told = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    surroundings = {"env_vars": {"PYTHONPATH": str(runtime.PACK_ROOT), **told}}
    try:
        ray.init(
            address=address,
            runtime_env=surroundings,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == LOCAL else None,
        )
    except Exception as error:  # which is what Ray raises when a node of its own does not come up
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--ray {address}: no cluster answers there ({reason})") from error


def _room(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """How many actors fit at once."""
    asked = {"CPU": cpus, "GPU": gpus}
    return min(int(resources.get(kind, 0) // need) for kind, need in asked.items() if need)


class Actor:
    """What runs on the cluster."""

    def __init__(self, settings: dict) -> None:
        self.stack = contextlib.ExitStack()
        self.draw_one = self.stack.enter_context(drawer(Settings(**settings)))

    def ready(self) -> bool:
        return True

    def draw(self, prompt: dict, graph: dict | None) -> tuple[str, list[Picture]]:
        """An error, or "", and the pictures."""
        try:
            return "", self.draw_one(prompt, graph)
        except JobFailed as error:
            return str(error), []


class ActorWorker:
    """One actor as the crew sees it."""

    def __init__(self, name: str, ray: Any, make: Any, settings: Settings) -> None:
        """Waits until the cluster has room for it. Raises WorkerLost."""
        self.name, self.ray = name, ray
        self.actor = make.remote(asdict(settings))
        self._answer_of(self.actor.ready.remote())

    def draw(self, task: Task) -> list[Picture]:
        error, pictures = self._answer_of(self.actor.draw.remote(task.prompt, task.graph))
        if error:
            raise JobFailed(error)
        return [tuple(picture) for picture in pictures]

    def close(self) -> None:
        with contextlib.suppress(Exception):  # the cluster may be gone
            self.ray.kill(self.actor)

    def _answer_of(self, reference: Any) -> Any:
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayError as error:
            raise WorkerLost(f"{self.name} is lost: {' '.join(str(error).split())[:300]}") from None
