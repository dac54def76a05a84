"""`imagen batch`: draw every row of a file of jobs with one workflow, on processes, a Ray cluster or ComfyUI servers."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from dataclasses import dataclass

from ..places import place
from . import naming

DONE, FAILED = 0, 1


def add_batch(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    batch = commands.add_parser("batch", help="draw every row of a CSV or JSONL file with one workflow")
    add = batch.add_argument
    add("workflow", metavar="WORKFLOW", help="as for `imagen run`")
    add("jobs", metavar="JOBS", help=".csv, .tsv, .jsonl with columns prompt, negative, seed, NODE.INPUT; or .txt")
    add("--name", default=naming.DEFAULT, metavar="TEMPLATE", help="pictures' names: {index}, {key}, {line}, {COLUMN}")
    add("--repeat", type=int, default=1, metavar="N", help="draw each row N times, its seed counted up")
    add("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="a change for all rows")
    add("--out", default="output", metavar="DIR", help="where pictures, results and report go (default: ./output)")
    add("--input", action="append", default=[], metavar="DIR", help="where LoadImage looks first (default: ./input)")
    add("--models", action="append", default=[], metavar="DIR", help="a folder with model files; may be repeated")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes or Ray actors (default: one, one a GPU, or what the cluster holds)",
    )
    add("--shard", metavar="K/N", help="do only the K-th of N parts, for machines that share nothing but the file")
    add("--server", action="append", default=[], metavar="URL", help="draw on this ComfyUI server; may be repeated")
    add(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="draw on a Ray cluster (default: one on this machine)",
    )
    add("--actor-cpus", type=float, default=1, metavar="N", help="CPUs that a Ray actor asks for (default: 1)")
    add("--actor-gpus", type=float, default=0, metavar="N", help="GPUs that a Ray actor asks for (default: 0)")
    add("--dry-run", action="store_true", help="check everything, list the jobs that are left, and draw nothing")
    add("--json", action="store_true", help="print the report's figures as one JSON object")
    add("--quiet", action="store_true", help="show no progress")
    add("--debug", action="store_true", help="show the traceback of a failure")
    batch.set_defaults(handler=run_batch)


def run_batch(options: argparse.Namespace) -> int:
    """Read, check, draw what is not drawn yet, report. Raises ValueError for input that is wrong."""
    from .. import runtime
    from ..folders import make_host, scratch_folder
    from .ledger import opened
    from .rows import read_rows
    from .run import Batch
    from .template import check, plan_of

    _check(options)
    shard = shard_of(options.shard)
    path = place(options.jobs)
    rows = read_rows(path)
    with scratch_folder() as temporary, contextlib.redirect_stdout(sys.stderr):
        host = make_host(options, temporary)
        host.open_paths = True
        with runtime.use(host):
            plan = plan_of(options)
            jobs = plan.jobs(rows, path, name=options.name, repeat=options.repeat)
            if not options.server:
                check(plan.prompt(jobs[0]), options.workflow)
        mine = [job for job in jobs if shard is None or shard.has(job.key)]
        with opened(host.output_directory, str(shard or "")) as ledger:
            left = [job for job in mine if not ledger.is_done(job)]
            batch = Batch(options, plan, jobs, ledger, found=len(mine) - len(left))
            if not options.dry_run:
                batch.draw(left, host)
    if options.dry_run:
        print("\n".join(f"{job.name}  (line {job.line})" for job in left))
        return DONE
    print(json.dumps(batch.summary) if options.json else batch.page)
    return FAILED if batch.run.failed else DONE


def _check(options: argparse.Namespace) -> None:
    for name, value in (("--repeat", options.repeat), ("--workers", options.workers)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: give a number from 1 on")
    if options.server and (options.ray or options.workers):
        raise ValueError("--server draws on servers alone: leave --ray and --workers out")


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts. A job belongs to a part by its key, whatever else is in the file."""

    number: int
    count: int

    def has(self, key: str) -> bool:
        return int(key[:8], 16) % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}of{self.count}"


def shard_of(text: str | None) -> Shard | None:
    """Raises ValueError for what is not K/N."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--shard {text!r:.40}: expected K/N with K from 1 to N, such as 3/8")
    return Shard(int(found[1]), int(found[2]))
