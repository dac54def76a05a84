"""Which guidances are there? One file each, found by discovery: `GUIDANCE` by name."""

from __future__ import annotations

from .._discovery import discover
from ._base import Guidance

GUIDANCE: dict[str, type[Guidance]] = discover(__name__, __path__, Guidance)

__all__ = ["GUIDANCE", "Guidance"]
