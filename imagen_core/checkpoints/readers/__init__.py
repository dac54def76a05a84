"""Which published formats are read? One file each, found by discovery: `READERS` by name."""

from __future__ import annotations

from ..._discovery import discover
from ..._foreign import what_is
from ..stored import Stored
from ._base import Reader, Reading

READERS: dict[str, type[Reader]] = discover(__name__, __path__, Reader)


def readers(kind: str | None = None) -> list[Reader]:
    """One of each, or of those that read a `kind`."""
    return [reader() for reader in READERS.values() if kind in (None, reader.kind)]


def reader_of(stored: Stored, kind: str | None = "stage") -> Reader:
    """The reader that takes a checkpoint. ValueError, in one line, saying what it is where it is no `kind`."""
    found = [reader for reader in readers() if reader.matches(stored)]
    if len(found) > 1:
        names = " and ".join(reader.name for reader in found)
        raise ValueError(f"{stored.path}: the readers {names} both take it for their own; report this file's keys")
    if not found or kind not in (None, found[0].kind):
        raise ValueError(f"{_what_it_is(stored, found)}: {_what_is_taken(kind)}")
    return found[0]


def _what_it_is(stored: Stored, found: list[Reader]) -> str:
    if found:
        return f"{stored.path} is {found[0].title}, for {found[0].loader}"
    if (known := what_is(stored.shapes)) is not None:
        return f"{stored.path} is {known}"
    first = f", first {min(stored.shapes)!r}" if stored.shapes else ""
    return f"{stored.path} holds {len(stored.shapes)} weights{first}, which are those of no model known here"


def _what_is_taken(kind: str | None) -> str:
    """Which node would take what, for somebody who chose the wrong file."""
    known = readers(kind)
    titles = ", ".join(reader.title for reader in known)
    if kind is None:
        return f"expected {titles}, or a text encoder"
    if not known:
        return f"nothing here reads a {kind}"
    return f"{known[0].loader} takes a {kind} ({titles}): choose another checkpoint"


__all__ = ["READERS", "Reader", "Reading", "reader_of", "readers"]
