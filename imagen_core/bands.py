"""How is a picture enlarged that no memory holds? In bands of rows, one after another, from a noise that is the picture's.

A band is drawn in strips of columns, and within a strip tiles are blended at every step (tiling.py). Neighbouring bands and
strips share rows and columns, draw them from the same noise and small picture, and are cross-faded there. So what is
wanted of memory is one strip and the finished numbers of one band, however large the picture is.

Shapes: c channels, h w pixels of the large picture, q rows of a band, s columns of a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from .draw import Draw
from .sampling import super_resolve
from .stage import Stage
from .tiling import GRID, Tiling, shares

FACTOR = 4
STRIP = 2048  # pixels: what is narrower is drawn as one strip
SEED_STEP = 0x9E3779B97F4A7C15  # odd: no two rows of two pictures share a seed by a small step


def noise_of(rows: slice, columns: slice, width: int, seed: int) -> Tensor:
    """(1 3 q s) of a picture's unit Gaussian noise, rows from a multiple of 32 on: the same whatever else is drawn."""

    def chunk(i: int) -> Tensor:  # of whole rows, which are not kept
        source = torch.Generator().manual_seed((seed + i * SEED_STEP) % 2**63)
        return torch.randn(3, GRID, width, generator=source)[..., columns].clone()

    chunks = [chunk(i) for i in range(rows.start // GRID, -(-rows.stop // GRID))]
    return torch.cat(chunks, dim=1)[None, :, : rows.stop - rows.start]


def super_resolve_bands(
    stage: Stage,
    rows_of: Callable[[slice], Tensor],
    size: tuple[int, int],
    tiling: Tiling,
    *,
    seed: int,
    steps: int,
    strip: int = STRIP,
) -> Iterator[Tensor]:
    """Enlarge a picture of `size` (height, width) four times: its rows from above, in parts (c q w) in [-1, 1] on the CPU.

    rows_of: the small picture's rows (1 c q w) in [-1, 1]. Bands are as high as tiles, and share `tiling.overlap` rows.
    strip: the most columns that are drawn at once, a multiple of 32; a tile's where that is more. Nothing is noised
    beforehand (aug_level 0). Raises ValueError as `super_resolve` does, for the first part.
    """
    height, width = (FACTOR * side for side in size)
    spans, strips = tiling.spans(height), _strips(width, tiling, max(strip, tiling.size))
    carried = torch.zeros(3, 0, width)
    for i, (span, share) in enumerate(zip(spans, shares(spans), strict=True)):
        small = rows_of(slice(span.start // FACTOR, span.stop // FACTOR))
        band = torch.zeros(3, span.stop - span.start, width)
        for columns, across in zip(strips, shares(strips), strict=True):
            draw = Draw(seeds=[seed], steps=steps, tiling=tiling, x_T=noise_of(span, columns, width, seed))
            part = small[..., columns.start // FACTOR : columns.stop // FACTOR]
            drawn = super_resolve(stage, part, None, draw, factor=FACTOR)[0]  # c q s
            band[..., columns] += drawn * (share[:, None] * across).float()
        band[:, : carried.shape[1]] += carried
        done = (spans[i + 1].start if i + 1 < len(spans) else height) - span.start
        carried = band[:, done:].clone()
        yield band[:, :done]


def _strips(width: int, tiling: Tiling, most: int) -> list[slice]:
    """As few strips as there can be of `most` columns, and those as narrow as they can be then, but for a tile's width."""
    count = len(replace(tiling, size=most).spans(width))
    even = -(-(width + (count - 1) * tiling.overlap) // (count * GRID)) * GRID
    return replace(tiling, size=max(even, tiling.size)).spans(width)
