"""What does each row change in the workflow, and by which key is its result known?

The key is a hash of the prompt that will run (classes, constants, links) without the names that savers give to files, and
of the pictures that it reads. Rows of one key are one job.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import cast, range_errors
from ..declared import CASTS, InputSpec
from ..graphs import overrides
from ..graphs.classes import FILE_NAME, Classes
from ..graphs.forms import WorkflowError, kind_of
from ..graphs.overrides import InputError, Override
from ..graphs.reading import Loaded
from . import naming
from .rows import Row, columns_of, wrong

SHORT = ("prompt", "negative", "seed")  # columns that set an input of every node that has it
BATCH = "batch_size"  # pictures of a node; a seed there is that of the first, and each has the next
Digest = Callable[[str], str | None]  # of the picture that an input names; None where it cannot be seen from here


@dataclass(frozen=True, kw_only=True)
class Job:
    """One prompt to run. `cells` are those of its row, for reports; `changes` what they set in the workflow."""

    key: str
    name: str
    line: int
    cells: dict[str, Any]
    changes: tuple[Override, ...]


@dataclass(frozen=True)
class Column:
    """A column that sets inputs: the same one of several nodes."""

    name: str
    targets: list[tuple[str, InputSpec]]

    def changes(self, cell: Any) -> list[Override]:
        """Raises InputError for a cell that an input does not take."""
        return [Override(node=node, name=spec.name, value=value_of(cell, spec)) for node, spec in self.targets]


class Plan:
    """One workflow, whose every job is a copy with changes."""

    def __init__(self, loaded: Loaded, classes: Classes, digest: Digest = lambda name: None) -> None:
        self.loaded, self.classes, self.digest = loaded, classes, digest

    def jobs(self, rows: list[Row], path: Path, *, name: str = naming.DEFAULT, repeat: int = 1) -> list[Job]:
        """The jobs of all rows, each key once. Raises ValueError, which names file, line and column.

        `repeat`: each row so many times, its seed counted up past all that a job draws from.
        """
        names = columns_of(rows)
        fields = naming.fields_of(name, [*names, *(["seed"] if repeat > 1 and "seed" not in names else [])])
        columns = {found: self._column(found, rows, path, fields) for found in names}
        if repeat > 1 and "seed" not in columns:
            columns["seed"] = self._short("seed")
        jobs: dict[str, Job] = {}
        for index, (row, number) in enumerate(((row, number) for row in rows for number in range(repeat)), start=1):
            cells = self._counted_up(row, number, columns, path) if repeat > 1 else row.cells
            changes = tuple(self._changes(Row(row.line, cells), columns, path))
            key = self._key(changes)
            if key not in jobs:
                called = naming.name_of(name, {**cells, "index": index, "line": row.line, "key": key})
                jobs[key] = Job(key=key, name=called, line=row.line, cells=cells, changes=changes)
        _refuse_equal_names(jobs.values(), path, name)
        return list(jobs.values())

    def prompt(self, job: Job) -> dict:
        """The prompt of a job."""
        copied = copy.deepcopy(Loaded(prompt=self.loaded.prompt, names=self.loaded.names))
        overrides.apply(copied.prompt, job.changes, copied.names)
        return copied.prompt

    def graph(self, job: Job) -> dict | None:
        """The graph with the job's changes, to be saved in its pictures, where there is one that can hold them."""
        return overrides.apply_to_ui(self.loaded.ui, job.changes, self.classes) if self.loaded.ui else None

    def _column(self, name: str, rows: list[Row], path: Path, fields: Iterable[str]) -> Column | None:
        """What a column sets; None for one that only the names of files use."""
        line = next(row.line for row in rows if name in row.cells)
        try:
            if name in SHORT:
                return self._short(name)
            if "." in name:
                return Column(name, [overrides.find_input(name, self.loaded.prompt, self.classes)])
        except WorkflowError as error:
            raise wrong(path, line, str(error).removeprefix(f"--{name}: "), name) from None
        if name in fields:
            return None
        known = f"{', '.join(SHORT)}, NODE.INPUT, or what --name uses"
        raise wrong(path, line, f"a column is called {known}: rename it, or take it out", name)

    def _short(self, name: str) -> Column:
        found = overrides.everywhere(name, self.loaded.prompt, self.classes)
        kinds = {node: self.loaded.prompt[node]["class_type"] for node, _ in found}
        return Column(name, [(node, self.classes[kinds[node]].inputs[key]) for node, key in found])

    def _counted_up(self, row: Row, number: int, columns: dict[str, Column | None], path: Path) -> dict[str, Any]:
        start = row.cells.get("seed")
        if start is None:
            node, spec = self._short("seed").targets[0]
            start = self.loaded.prompt[node]["inputs"].get(spec.name)
        if not isinstance(start, (int, str)) or not str(start).isdecimal():
            raise ValueError(f"--repeat counts a seed up, and {start!r:.40} is no number: give the rows a column seed")
        return {**row.cells, "seed": int(start) + number * self._seeds_a_job(tuple(self._changes(row, columns, path)))}

    def _seeds_a_job(self, changes: Iterable[Override]) -> int:
        """How many seeds in a row a job draws from: the batch_size of a node that has a seed."""
        changed = {(change.node, change.name): change.value for change in changes}
        seeded = {node for node, _ in self._short("seed").targets}
        own = {(node, BATCH): self.loaded.prompt[node]["inputs"].get(BATCH) for node in seeded}
        return max([1, *(size for place, size in {**own, **changed}.items() if place in own and isinstance(size, int))])

    def _changes(self, row: Row, columns: dict[str, Column | None], path: Path) -> Iterator[Override]:
        for name, cell in row.cells.items():
            try:
                yield from columns[name].changes(cell) if columns[name] is not None else ()
            except InputError as error:
                raise wrong(path, row.line, str(error), name) from None

    def _key(self, changes: Iterable[Override]) -> str:
        inputs = {node: dict(entry.get("inputs", {})) for node, entry in self.loaded.prompt.items()}
        for change in changes:
            inputs[change.node][change.name] = change.value
        parts = {node: self._part(self.loaded.prompt[node]["class_type"], values) for node, values in inputs.items()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()

    def _part(self, kind: str, inputs: dict[str, Any]) -> list:
        """What of a node counts for the key."""
        cls = self.classes[kind]
        if cls.is_saver:
            inputs.pop(FILE_NAME, None)
        shown = [name for name, spec in cls.inputs.items() if spec.options.get("image_upload")]
        seen = [self.digest(inputs[name]) for name in shown if isinstance(inputs.get(name), str)]
        return [kind, inputs, seen]


def value_of(cell: Any, spec: InputSpec) -> Any:
    """A cell as its input takes it. Raises InputError."""
    if isinstance(cell, (list, dict)) or (isinstance(cell, float) and not math.isfinite(cell)):
        raise InputError(f"{kind_of(cell) if not isinstance(cell, float) else cell} is no value of an input")
    value = overrides.value_of(cell, spec) if isinstance(cell, str) else _typed(cell, spec)
    if spec.options.get("image_upload"):
        return value  # any file that can be found; the node says so when it runs
    if problems := range_errors(spec, value, {}):
        raise InputError(f"{problems[0]['message']} ({problems[0]['details']})")
    return value


def _typed(cell: Any, spec: InputSpec) -> Any:
    """A number, true or false of a JSON file."""
    if spec.choices is not None:
        return next((choice for choice in spec.choices if choice == cell), cell)
    whole = not isinstance(cell, float) or cell.is_integer()
    if (
        spec.kind not in CASTS
        or (spec.kind == "INT" and not whole)
        or isinstance(cell, bool) != (spec.kind == "BOOLEAN")
    ):
        raise InputError(f"{json.dumps(cell)} is no {spec.socket}")
    return cast(cell, spec.kind)


def _refuse_equal_names(jobs: Iterable[Job], path: Path, template: str) -> None:
    named: dict[str, Job] = {}
    for job in jobs:
        first = named.setdefault(job.name.lower(), job)
        if first is not job:
            same = f"--name {template!r:.80} calls its picture {job.name!r:.80}, as that of line {first.line}"
            raise wrong(path, job.line, f"{same}: put {{key:.8}} in it")
