"""Which rows does a file of jobs hold? CSV or TSV with a line of column names, JSONL, or plain text, a prompt a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..graphs.forms import shown

DELIMITERS = {".csv": ",", ".tsv": "\t"}
KINDS = ".csv, .tsv, .jsonl or .txt"


@dataclass(frozen=True)
class Row:
    """One row: the line on which it begins, counted from 1, and its cells by column. An empty cell of a CSV is none."""

    line: int
    cells: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file. Raises ValueError, which names file, line and column."""
    kind = path.suffix.lower()
    if kind not in (*DELIMITERS, ".jsonl", ".txt"):
        raise ValueError(f"{path}: a file of jobs ends in {KINDS}")
    text = _text_of(path)
    if kind in DELIMITERS:
        rows = list(_of_table(text, path, DELIMITERS[kind]))
    else:
        lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
        rows = list(_of_json(lines, path) if kind == ".jsonl" else _of_text(lines))
    if not rows:
        raise ValueError(f"{path} holds no jobs: give it a row for each")
    return rows


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Every column that some row has, in the order of the file."""
    return list(dict.fromkeys(name for row in rows for name in row.cells))


def wrong(path: Path, line: int, message: str, column: str | None = None) -> ValueError:
    """The error for one place in the file."""
    where = f"{path}, line {line}" + (f", column {shown(column)}" if column is not None else "")
    return ValueError(f"{where}: {message}")


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): name a file of jobs, {KINDS}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise wrong(path, line, "these bytes are no UTF-8: save the file as UTF-8") from None


def _of_table(text: str, path: Path, delimiter: str) -> Iterator[Row]:
    reader, names, begins = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), None, 1
    try:
        for cells in reader:
            if names is None and any(cells):
                names = _header(cells, path, begins)
            elif any(cells):
                yield _row(names, cells, path, begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise wrong(path, begins, f"{error}: see to its quotes") from None


def _header(cells: list[str], path: Path, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, start=1):
        if not name:
            raise wrong(path, line, f"column {number} has no name: the first line names the columns")
        if names.index(name) != number - 1:
            raise wrong(path, line, "two columns have this name: take one out", name)
    return names


def _row(names: list[str], cells: list[str], path: Path, line: int) -> Row:
    if len(cells) > len(names):
        raise wrong(
            path, line, f"{len(cells)} cells for {len(names)} columns: a comma in a text needs quotes around it"
        )
    return Row(line, {name: cell for name, cell in zip(names, cells, strict=False) if cell.strip()})


def _of_json(lines: Iterable[tuple[int, str]], path: Path) -> Iterator[Row]:
    for number, line in lines:
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise wrong(
                path, number, f"no JSON ({getattr(error, 'msg', 'nested too deep')}): one object a line"
            ) from None
        if not isinstance(cells, dict):
            raise wrong(path, number, "no object: a row is {column: value, ...}")
        yield Row(number, {name: value for name, value in cells.items() if value is not None})


def _of_text(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        yield Row(number, {"prompt": line.strip()})
