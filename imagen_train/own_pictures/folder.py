"""Training data: a folder of pictures, captions in x.txt beside x.png or in a table (metadata.csv, *.jsonl, *.csv).

A table may be named itself, and is then all that counts: the pictures that it names, from its own folder on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from imagen_pictures.picture_files import SUFFIXES

from ._base import Collection, Record, tidied
from ._tables import SUFFIXES as TABLES
from ._tables import captions_of, tables_in


class Folder(Collection):
    name = "folder"
    about = (
        "a folder of pictures with x.txt beside x.png, or metadata.csv, metadata.jsonl, a CSV or JSONL; or such a table"
    )
    rank: ClassVar[int] = 1  # after the forms that have files of their own

    @classmethod
    def matches(cls, place: Path) -> bool:
        if place.is_dir():
            return any(_pictures(place)) or any(map(captions_in, tables_in(place)))
        return place.is_file() and place.suffix.lower() in TABLES

    def files(self) -> Iterator[Path]:
        if self.place.is_dir():
            yield from sorted([*_pictures(self.place), *_texts(self.place)])
            return
        named = (self.place.parent / name for name in self._told())
        yield from sorted([self.place, *(path for path in named if path.is_file())])

    def _told(self) -> dict[str, str]:
        tables = tables_in(self.place) if self.place.is_dir() else [self.place]
        return {name: text for table in tables for name, text in captions_of(table, self.caption).items()}

    def records(self) -> Iterator[Record]:
        """Every picture by its name, those that only a table names included."""
        told, whole = self._told(), self.place.is_dir()
        folder = self.place if whole else self.place.parent
        there = {path.relative_to(folder).as_posix() for path in _pictures(folder)} if whole else set()
        for name in sorted(there | told.keys()):
            path = folder / name
            caption = told.get(name) or _text_beside(path)
            yield Record(name=name, caption=caption, open=partial(_opened, path))


def captions_in(table: Path) -> bool:
    """Whether a table is about pictures: its first lines name columns that are."""
    try:
        return bool(captions_of(table, None))
    except ValueError:
        return False


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and _is_shown(path, folder))


def _texts(folder: Path) -> Iterator[Path]:
    yield from tables_in(folder)
    yield from (path for path in folder.rglob("*.txt") if _is_shown(path, folder))


def _is_shown(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _text_beside(path: Path) -> str:
    text = path.with_suffix(".txt")
    return tidied(text.read_text(encoding="utf-8-sig", errors="replace")) if text.is_file() else ""


def _opened(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is named in a table, and is not there")
    return path
