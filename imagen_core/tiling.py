"""How is a picture drawn that no memory holds at once? Tile by tile, blended at every step (MultiDiffusion, 2302.08113).

Only the network sees tiles. Noise, sampler, guidance and thresholding work on the whole picture, so that a tile's noise
is a crop of the picture's, and neighbours that disagree about x_0 in their overlap are averaged there before the next
step (Eq. 5) and cannot drift apart. One tile that covers the picture is the untiled run, bit for bit.

Shapes: b images, c channels, h w pixels of the picture, p q of a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from .conditioning import Signals, Window
from .predictor import Predictor

GRID = 32  # pixels: networks shrink a picture 8 to 32 times, and tiles begin where their coarse positions do


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a picture is cut: squares of `size` pixels, of which neighbours share `overlap` or more."""

    size: int  # a multiple of 32; the network works best at the size it was trained at
    overlap: int  # a multiple of 32, at most half the size; 0 leaves seams
    callback: Callable[[int, int], None] | None = None  # callback(tile, tiles) after each; what it raises ends the run

    def __post_init__(self) -> None:
        if self.size < GRID or self.size % GRID or self.overlap % GRID:
            raise ValueError(f"tiles of {self.size} with overlap {self.overlap}: both are multiples of {GRID} pixels")
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(f"overlap {self.overlap} is outside [0, {self.size // 2}], half of a tile of {self.size}")

    def covers(self, height: int, width: int) -> bool:
        """Whether one tile is the whole picture."""
        return max(height, width) <= self.size

    def spans(self, length: int) -> list[slice]:
        """Where tiles lie along an axis of `length` pixels: evenly, each begun on the grid, the last ending it."""
        last = max(0, -(-(length - self.size) // GRID))  # where the last begins, in steps of the grid
        gaps = -(-last * GRID // (self.size - self.overlap))
        starts = [0, *(last * i // gaps * GRID for i in range(1, gaps + 1))]
        return [slice(start, min(start + self.size, length)) for start in starts]


def shares(spans: list[slice]) -> list[Tensor]:
    """How much each tile counts along an axis, (p,) float64 each: ramps across the overlaps; they sum to 1 everywhere."""
    weights = [torch.ones(span.stop - span.start, dtype=torch.float64) for span in spans]
    for (left, right), (before, after) in zip(pairwise(weights), pairwise(spans), strict=True):
        shared = before.stop - after.start
        ramp = torch.linspace(0.0, torch.pi / 2, 2 * shared + 1, dtype=torch.float64)[1::2].sin() ** 2  # no kinks
        left[len(left) - shared :] *= 1.0 - ramp
        right[:shared] *= ramp
    total = torch.zeros(spans[-1].stop, dtype=torch.float64)
    for span, weight in zip(spans, weights, strict=True):
        total[span] += weight
    return [weight / total[span] for span, weight in zip(spans, weights, strict=True)]


class InTiles(nn.Module):
    """network(x_t, time, told), a tile at a time. Its output is linear in x_0 at one x_t, so blending it blends x_0."""

    def __init__(self, network: nn.Module, tiling: Tiling) -> None:
        super().__init__()
        self.network, self.tiling = network, tiling

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        height, width = x_t.shape[-2:]
        if self.tiling.covers(height, width):
            return self.network(x_t, time, told)
        rows, columns = (self.tiling.spans(length) for length in (height, width))
        row_shares, column_shares = (shares(spans) for spans in (rows, columns))
        whole = None
        for i, (row, down) in enumerate(zip(rows, row_shares, strict=True)):
            for j, (column, across) in enumerate(zip(columns, column_shares, strict=True)):
                window = Window(rows=row, columns=column, size=(height, width))
                tile = self.network(window.of(x_t), time, told.cropped(window))  # b c p q
                if whole is None:
                    whole = tile.new_zeros(*tile.shape[:-2], height, width)
                whole[..., row, column] += tile * (down[:, None] * across).to(tile)
                if self.tiling.callback is not None:
                    self.tiling.callback(i * len(columns) + j + 1, len(rows) * len(columns))
        return whole


def tiled(predictor: Predictor, tiling: Tiling | None) -> Predictor:
    """The same predictor, its network run in tiles."""
    return predictor if tiling is None else replace(predictor, network=InTiles(predictor.network, tiling))
