"""Which thresholdings are there? One file each, found by discovery: `THRESHOLDINGS` by name."""

from __future__ import annotations

from .._discovery import discover
from ._base import Thresholding

THRESHOLDINGS: dict[str, type[Thresholding]] = discover(__name__, __path__, Thresholding)

__all__ = ["THRESHOLDINGS", "Thresholding"]
