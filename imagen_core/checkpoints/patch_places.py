"""Is the table of positions that a file of DiT or JiT holds the fixed one that our networks work out?"""

from __future__ import annotations

import math

import torch

from ..unets.patch_transformer import PatchTransformerConfig, grid_table
from .key_map import Entry, Parts
from .renaming import same_as, with_beside
from .stored import Stored

HALF_PRECISION = 0.01  # what a table stored in bfloat16 may be off by


def trained_side(shapes: Parts, key: str, patch: int, otherwise: int) -> int:
    """The side that a table of positions (1 m d) was made for; `otherwise` where a file has none."""
    positions = shapes.get(key, (1, 0, 0))[1]
    side = math.isqrt(positions)
    if side * side != positions:
        raise ValueError(f"{key!r} has {positions} positions, and square pictures have a square number")
    return side * patch or otherwise


def with_places(entry: Entry, key: str, stored: Stored, config: PatchTransformerConfig) -> Entry:
    """The entry, and the table `key` checked beside it where a file has one. The check names the file and the key."""
    if key not in stored.shapes:
        return entry
    table = grid_table(config.grid, config.grid, config.grid, config.width, like=torch.zeros(1))[None]
    what = f"{stored.path}: {key!r} holds trained positions, and this pack reads networks whose positions are sinusoids"
    return with_beside(entry, {key: tuple(table.shape)}, same_as(table, HALF_PRECISION, what))
