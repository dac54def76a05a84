"""Which samplers are there? One file each, found by discovery: `SAMPLERS` by name."""

from __future__ import annotations

from .._discovery import discover
from ._base import Sampler
from .spacing import MOVED, RESPACINGS, SPACINGS, STRIDES, time_grid

SAMPLERS: dict[str, type[Sampler]] = discover(__name__, __path__, Sampler)

__all__ = ["MOVED", "RESPACINGS", "SAMPLERS", "SPACINGS", "STRIDES", "Sampler", "time_grid"]
