"""What must a collection of pictures offer? Its records, always in one order, and what its files are now."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

CAPTION_COLUMNS = ("caption", "text", "prompt", "description", "label")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One picture. `open` gives what is decoded later; it may raise ValueError, as for a picture that is not there."""

    name: str  # unique in the collection, the same every time
    caption: str  # "" for none
    open: Callable[[], Path | IO[bytes]]


class Collection(ABC):
    """A concrete subclass in a file of this folder is a form of training data."""

    name: ClassVar[str]
    about: ClassVar[str]  # what it is, for a list
    rank: ClassVar[int] = 0  # the lower, the earlier it is asked

    def __init__(self, place: Path, caption: str | None = None):
        self.place, self.caption = place, caption

    @classmethod
    @abstractmethod
    def matches(cls, place: Path) -> bool:
        """Whether `place` holds this form, told without reading a picture."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Every picture, in an order that does not change. ValueError: tables or archives that cannot be read."""

    def files(self) -> Iterable[Path]:
        """What the collection is made of."""
        return (
            (path for path in sorted(self.place.rglob("*")) if path.is_file()) if self.place.is_dir() else [self.place]
        )

    def fingerprint(self) -> str:
        """Sixteen letters that change when a file is added, changed or taken away."""
        digest = hashlib.sha256()
        for path in self.files():
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]


def tidied(caption: object) -> str:
    """A caption on one line, without blanks at its ends; "" for what is no text."""
    return " ".join(caption.split()) if isinstance(caption, str) else ""


def chosen_column(columns: Sequence[str], wanted: Iterable[str], given: str | None, where: object, what: str) -> str:
    """The column that is `given`, or the first of the usual ones. ValueError naming those that are there."""
    names = [given] if given else list(wanted)
    for name in names:
        if name in columns:
            return name
    raise ValueError(f"{where} has columns {', '.join(columns)}, none of them {what}: {' or '.join(names)} is expected")
