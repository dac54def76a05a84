"""What has become of each job, also of those that other runs and other shards did in this folder?

One JSON line a job in a file that one process writes (a shard has its own), and all read. Before a picture comes under its
name its line says so, so that what a killed run left is known to be ours and drawn over.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import whole_files
from ..jobs.journal import Journal
from ..jobs.turns import turn
from .plan import Job

DONE, FAILED, PLACING = "done", "failed", "placing"
NAME = "results"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a job. `files` are below the output folder; `seconds` those of the worker."""

    key: str
    status: str
    name: str
    line: int
    cells: dict[str, Any]
    files: list[str] = field(default_factory=list)
    error: str = ""
    worker: str = ""
    seconds: float = 0.0


class Ledger:
    """The records of an output folder by key. `shard` is "" or such as "3of8"."""

    def __init__(self, folder: Path, shard: str = "") -> None:
        self.folder = folder
        self.path = folder / (f"{NAME}-{shard}.jsonl" if shard else f"{NAME}.jsonl")
        self.journal = Journal(self.path)
        self.records: dict[str, Record] = {}
        self.ours: set[str] = set()  # files that some record names
        for path in sorted(folder.glob(f"{NAME}*.jsonl")):
            journal = self.journal if path == self.path else Journal(path)
            for line in journal.news(settled=path == self.path)[1]:
                self._take(line)

    def _take(self, line: bytes) -> None:
        """Take in a line; one that a crash cut short, or that is somebody's own, is none."""
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            record = Record(**json.loads(line))
            self.ours.update(record.files)
            if record.status == DONE or self.records.get(record.key, record).status != DONE:
                self.records[record.key] = record

    def is_done(self, job: Job) -> bool:
        """Whether a job's pictures are there."""
        record = self.records.get(job.key)
        there = record is not None and record.status == DONE
        return there and all((self.folder / name).is_file() for name in record.files)

    def keep(self, job: Job, pictures: list[tuple[str, bytes]], **about: Any) -> Record:
        """Write a job's pictures, each (ending, bytes), and note it. FileExistsError: a name is somebody else's."""
        names = [
            f"{job.name}{f'_{number}' if number > 1 else ''}{ending}" for number, (ending, _) in enumerate(pictures, 1)
        ]
        for name in names:
            if name not in self.ours and (self.folder / name).exists():
                raise FileExistsError(f"{name} is there and not of this batch: choose another --out or --name")
        self._note(job, PLACING, files=names)
        for name, (_, data) in zip(names, pictures, strict=True):
            whole_files.write(self.folder / name, data)
        return self._note(job, DONE, files=names, **about)

    def fail(self, job: Job, error: str, **about: Any) -> Record:
        """Note a job that cannot be done as it is; the next run tries it again."""
        return self._note(job, FAILED, error=error, **about)

    def _note(self, job: Job, status: str, **about: Any) -> Record:
        record = Record(key=job.key, status=status, name=job.name, line=job.line, cells=job.cells, **about)
        self.journal.append(json.dumps(asdict(record), default=str).encode())
        self.ours.update(record.files)
        self.records[job.key] = record
        return record


@contextlib.contextmanager
def opened(folder: Path, shard: str = "") -> Iterator[Ledger]:
    """The ledger, held by this process alone. Raises ValueError when another one works on the same shard."""
    lock = folder / ".imagen-batch" / (shard or "all")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(turn(lock, patience=0))
        except OSError as error:
            raise ValueError(
                f"another imagen batch is at work in {folder}: wait for it, or choose another --out"
            ) from error
        yield Ledger(folder, shard)
