"""How are captions read that stand in a table beside the pictures: CSV, or a JSON object a line?"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ._base import CAPTION_COLUMNS, chosen_column, tidied

FILE_COLUMNS = ("file_name", "file", "filename", "image", "path", "image_path")
SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": None}  # what parts a line


def tables_in(folder: Path) -> list[Path]:
    """The tables of a folder: metadata.* where there is one (as Hugging Face lays it out), else all."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return [path for path in found if path.stem == "metadata"] or found


def captions_of(table: Path, caption: str | None) -> dict[str, str]:
    """Captions by the picture's name, as the table has it (relative to the table's folder).

    ValueError: no such columns, or a line that cannot be read, by its number.
    """
    captions: dict[str, str] = {}
    columns: tuple[str, str] | None = None
    for row in _rows(table):
        if columns is None:
            names = [name for name in row if isinstance(name, str)]
            columns = (
                chosen_column(names, FILE_COLUMNS, None, table, "a picture's file"),
                chosen_column(names, CAPTION_COLUMNS, caption, table, "a caption"),
            )
        name = row.get(columns[0])
        if isinstance(name, str) and name:
            captions[Path(name).as_posix()] = tidied(row.get(columns[1]))
    return captions


def _rows(table: Path) -> Iterator[Mapping[str, object]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            parts = SUFFIXES[table.suffix.lower()]
            yield from csv.DictReader(file, delimiter=parts, strict=True) if parts else _json_lines(table, file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{table} is no CSV ({error}): look at its quotation marks") from error


def _json_lines(table: Path, lines: Iterator[str]) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{table}, line {number}, is no JSON ({error}): write one object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f'{table}, line {number}, is no object: write {{"file_name": ..., "text": ...}}')
        yield row
