"""How is a picture enlarged that no memory holds? In bands of rows, one after another, from a noise that is the picture's.

Within a band tiles are blended at every step (tiling.py). Neighbouring bands share rows, draw them from the same noise and
small picture, and are cross-faded there, so that what is wanted of memory follows the width of the picture and not its
height.

Shapes: c channels, h w pixels of the large picture, q rows of a band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .draw import Draw
from .sampling import super_resolve
from .stage import Stage
from .tiling import GRID, Tiling, shares

FACTOR = 4
SEED_STEP = 0x9E3779B97F4A7C15  # odd: no two rows of two pictures share a seed by a small step


def noise_of_rows(rows: slice, width: int, seed: int, channels: int = 3) -> Tensor:
    """(1 c q w) unit Gaussian noise of some rows, whose ends are multiples of 32: the same whatever else is drawn."""
    chunks = [
        torch.randn(channels, GRID, width, generator=torch.Generator().manual_seed((seed + i * SEED_STEP) % 2**63))
        for i in range(rows.start // GRID, -(-rows.stop // GRID))
    ]
    return torch.cat(chunks, dim=1)[None, :, : rows.stop - rows.start]


def super_resolve_bands(
    stage: Stage, rows_of: Callable[[slice], Tensor], size: tuple[int, int], tiling: Tiling, *, seed: int, steps: int
) -> Iterator[Tensor]:
    """Enlarge a picture of `size` (height, width) four times: its rows from above, in parts (c q w) in [-1, 1] on the CPU.

    rows_of: the small picture's rows (1 c q w) in [-1, 1]. Bands are as high as tiles, and share `tiling.overlap` rows.
    Nothing is noised beforehand (aug_level 0). Raises ValueError as `super_resolve` does, for the first part.
    """
    height, width = (FACTOR * side for side in size)
    spans = tiling.spans(height)
    carried = torch.zeros(3, 0, width)
    for i, (span, share) in enumerate(zip(spans, shares(spans), strict=True)):
        small = rows_of(slice(span.start // FACTOR, span.stop // FACTOR))
        draw = Draw(seeds=[seed], steps=steps, tiling=tiling, x_T=noise_of_rows(span, width, seed))
        band = super_resolve(stage, small, None, draw, factor=FACTOR)[0] * share.float()[:, None]  # c q w
        band[:, : carried.shape[1]] += carried
        done = (spans[i + 1].start if i + 1 < len(spans) else height) - span.start
        carried = band[:, done:].clone()
        yield band[:, :done]
