"""What happens while a batch is drawn? Results come in, are kept at once, counted and shown; the end is a report."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from tqdm import tqdm

from ..runtime import Runtime
from ..streams import say
from . import report
from .crew import Crew, Hire, Result, Task
from .ledger import Ledger
from .plan import Job, Plan
from .workers import processes, ray_actors, servers
from .workers.drawing import Settings


class Batch:
    """One run of the command: results come in, are kept, counted and reported."""

    def __init__(self, options: argparse.Namespace, plan: Plan, jobs: list[Job], ledger: Ledger, found: int) -> None:
        self.options, self.plan, self.jobs, self.ledger = options, plan, jobs, ledger
        self.run = report.Run(found=found)

    def draw(self, left: list[Job], host: Runtime) -> None:
        """Draw these jobs; the report is written whatever ends it."""
        start = time.monotonic()
        try:
            if left:
                with hired(self.options, len(left), host) as hires:
                    self.run = replace(self.run, workers=len(hires))
                    self._collect(left, hires)
        finally:
            self.run = replace(self.run, seconds=time.monotonic() - start)
            self._report()

    def _collect(self, left: list[Job], hires: list[Hire]) -> None:
        often = {"mininterval": 0.2 if sys.stderr.isatty() else 30.0}  # seconds; a log is not a terminal
        bar = tqdm(total=len(left), unit="job", file=sys.stderr, disable=self.options.quiet, **often)
        task_of = lambda job: Task(self.plan.prompt(job), self.plan.graph(job))
        with bar, Crew(left, task_of, hires) as crew:
            for result in crew:
                self._take(result)
                bar.set_postfix(failed=self.run.failed, refresh=False)
                bar.update()

    def _take(self, result: Result) -> None:
        about = {"worker": result.worker, "seconds": round(result.seconds, 3)}
        error = result.error
        if not error:
            try:
                self.ledger.keep(result.job, result.pictures, **about)
            except FileExistsError as taken:
                error = str(taken)
        if error:
            self.ledger.fail(result.job, error, **about)
            self.run = replace(self.run, failed=self.run.failed + 1)
        else:
            more = self.run.pictures + len(result.pictures)
            self.run = replace(self.run, drawn=self.run.drawn + 1, pictures=more)

    def _report(self) -> None:
        self.page = report.write(self.ledger, self.jobs, self.run, f"{self.options.workflow}, {self.options.jobs}")
        self.summary = json.loads((self.ledger.folder / "report.json").read_text(encoding="utf-8"))
        run = self.run
        say(f"{run.drawn} drawn, {run.failed} failed, {run.found} done before; {run.rate:.3g} pictures/s: {self.page}")
        for failure in self.summary["failures"][:5] if run.failed else ():
            say(f"{self.options.jobs}, line {failure['line']}: {failure['error']}")


@contextlib.contextmanager
def hired(options: argparse.Namespace, jobs: int, host: Runtime) -> Iterator[list[Hire]]:
    """Those who draw."""
    inputs = tuple(str(folder.absolute()) for folder in host.input_directories)
    settings = Settings(inputs=inputs, models=tuple(str(folder.absolute()) for folder in host.model_directories))
    if options.server:
        yield servers.hires(options.server)
    elif options.ray:
        resources = {"cpus": options.actor_cpus, "gpus": options.actor_gpus, "count": options.workers or 0}
        with ray_actors.cluster(options.ray, settings, **resources) as hires:
            yield hires
    else:
        import torch

        devices = torch.cuda.device_count()
        yield processes.hires(min(options.workers or max(devices, 1), jobs), settings, devices)
