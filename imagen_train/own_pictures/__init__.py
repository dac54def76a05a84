"""In which forms do people have pictures with captions? One file each, found by discovery."""

from __future__ import annotations

from pathlib import Path

from imagen_core._discovery import discover

from ._base import Collection, Record

__all__ = ["COLLECTIONS", "Collection", "Record", "collection_of"]

COLLECTIONS: dict[str, type[Collection]] = discover(__name__, __path__, Collection)


def collection_of(place: Path, caption: str | None = None) -> Collection:
    """The pictures at `place`, captions from the column `caption` where there are columns (None: the usual names).

    ValueError: nothing there that any form takes.
    """
    for kind in sorted(COLLECTIONS.values(), key=lambda kind: kind.rank):
        if kind.matches(place):
            return kind(place, caption)
    forms = "; ".join(kind.about for kind in COLLECTIONS.values())
    raise ValueError(f"there are no pictures at {place}: name a folder or file that holds one of these: {forms}")
