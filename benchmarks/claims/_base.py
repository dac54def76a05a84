"""What is a claim? Rows of figures that a command measures, one at a time, and what is made of them: a table and a plot.

Rows are kept as they come: a command that was stopped goes on with the rows that are missing.
"""

from __future__ import annotations

import argparse
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from imagen_core.whole_files import write
from imagen_train.drawings import file_digest

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "claims"
Row = dict[str, Any]


class Claim(ABC):
    """`measured` yields rows; `key` names the columns that tell one row from another."""

    name: ClassVar[str]
    about: ClassVar[str]  # what is claimed, in a line
    key: ClassVar[tuple[str, ...]]

    def add_options(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027
        """What a user may say beside --out and --again."""

    @abstractmethod
    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        """The rows that are not `done` yet, each as soon as it is known."""

    @abstractmethod
    def table(self, rows: Sequence[Row]) -> str:
        """The rows in Markdown."""

    @abstractmethod
    def plot(self, rows: Sequence[Row]) -> str:
        """The rows as an SVG."""

    def is_done(self, done: Sequence[Row], **row: Any) -> bool:
        return any(all(each[name] == row[name] for name in self.key) for each in done)


def run(claim: Claim, options: argparse.Namespace) -> list[Row]:
    """Measure what is missing; after each row the JSON and the plot are written anew."""
    file = options.out / f"{claim.name}.json"
    hidden = ("out", "again", "claim", "seeds", "encoder")  # what rows name themselves, or what changes none
    settings = {name: said(value) for name, value in vars(options).items() if name not in hidden}
    rows = [] if options.again else kept(file, settings)
    for row in claim.measured(options, tuple(rows)):
        rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if not isinstance(v, list)}), flush=True)
        save(file, settings, rows)
        write(file.with_suffix(".svg"), claim.plot(rows).encode())
    return rows


def said(value: Any) -> Any:
    """A setting as the JSON has it; a file by its name and the beginning of its digest, a folder by its name."""
    if isinstance(value, Path):
        return f"{value.name} {file_digest(value)[:8]}" if value.is_file() else value.name
    return [said(each) for each in value] if isinstance(value, (list, tuple)) else value


def kept(file: Path, settings: dict[str, Any]) -> list[Row]:
    """Rows of an earlier run. ValueError: it was another measurement."""
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise ValueError(
            f"{file} holds rows of other settings {found['settings']}: --again discards them, or name --out"
        )
    return found["rows"]


def save(file: Path, settings: dict[str, Any], rows: Sequence[Row]) -> None:
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    text = f'{{\n "settings": {json.dumps(settings)},\n "rows": [\n  {lines}\n ]\n}}\n'
    write(file, text.encode())


def measured(name: str, out: Path = OUT) -> dict[str, Any]:
    """Settings and rows of what was measured; no rows where nothing was."""
    file = out / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"settings": {}, "rows": []}


def markdown(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    body = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in body)


def grouped(rows: Sequence[Row], *names: str) -> dict[tuple, list[Row]]:
    """Rows by what they have in these columns, in the order of their first."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def each_seed(rows: Sequence[Row], name: str, digits: int) -> str:
    """A column's values, one a seed."""
    return ", ".join(f"{row[name]:.{digits}f}" for row in sorted(rows, key=lambda row: row["seed"]))


def mean(rows: Sequence[Row], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
