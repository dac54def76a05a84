"""How does a process of ours draw one prompt after the other? On one engine, whose loaded models stay from job to job."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...runtime import Runtime, default_input_directories, use
from ..crew import JobFailed, Picture


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a worker finds what its prompts name. JSON can hold it: it goes to other processes and machines."""

    inputs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    threads: int = 0  # of torch; 0: as many as it likes
    device: str = ""  # what CUDA_VISIBLE_DEVICES is to say; "": as it is


@contextlib.contextmanager
def drawer(settings: Settings) -> Iterator[Callable[[dict, dict | None], list[Picture]]]:
    """A function from prompt and graph to the pictures that are saved; it raises JobFailed. ValueError: no pack here."""
    if settings.device:
        os.environ["CUDA_VISIBLE_DEVICES"] = settings.device
    from ...execution.engine import Engine
    from ...folders import scratch_folder
    from ...registry import load_registry

    with scratch_folder() as scratch, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        host = Runtime(
            input_directories=[*map(Path, settings.inputs), *default_input_directories()],
            output_directory=scratch / "output",
            temp_directory=scratch / "temp",
            model_directories=[Path(folder) for folder in settings.models],
            open_paths=True,
        )
        if settings.threads:
            import torch

            torch.set_num_threads(settings.threads)
        engine = Engine(load_registry(), host)
        yield lambda prompt, graph: _draw(engine, prompt, graph)


def _draw(engine, prompt: dict, graph: dict | None) -> list[Picture]:
    from ... import terminal
    from ...validation import validate

    host = engine.host
    try:
        with use(host):
            checked = validate(prompt, engine.registry)
        if checked.error is not None or checked.node_errors:
            raise JobFailed("; ".join(terminal.explain(checked, prompt)))
        result = engine.run(prompt, checked.outputs, extra_data={"extra_pnginfo": {"workflow": graph}} if graph else {})
        if result.failure is not None:
            reason = " ".join(str(result.failure.exception).split()) or type(result.failure.exception).__name__
            raise JobFailed(f"{terminal.name_of(result.failure.node, prompt)} failed: {reason}")
        paths = map(Path, terminal.saved_paths(result, host.output_directory))
        return [(path.suffix, path.read_bytes()) for path in paths]
    finally:
        engine.cache.drop_shown()  # a saver that is not run again would show files that are gone
        for folder in (host.output_directory, host.temp_directory):
            shutil.rmtree(folder, ignore_errors=True)
