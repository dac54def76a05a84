"""Where in a training picture is which thing? Known of pictures that were composed, and kept beside them.

A chunk `00012.npy` of pictures gets a file `00012.segments.npy`, (n h w) uint8: 0 the backdrop, 1 the first thing, and so
on. It is made when it is first asked for, from the scenes that the chunk was painted from, and moved into place whole.

Shapes: n pictures of a chunk, b of a batch, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.whole_files import whole

from .data import PictureCache


@runtime_checkable
class Composed(Protocol):
    """A source of pictures that knows what lies where in them."""

    window: int | None

    def segments(self, index: int) -> np.ndarray:
        """(n h w) uint8 of chunk `index`."""


def knows_segments(cache: PictureCache) -> bool:
    """Whether the cache's pictures were composed, and are kept whole."""
    return isinstance(cache.kind, Composed) and cache.kind.window is None


class SegmentMaps:
    """The segments of a cache's pictures; `refresh()` takes in new chunks. ValueError for pictures of another source."""

    def __init__(self, cache: PictureCache):
        if not knows_segments(cache):
            raise ValueError(f"of {cache.kind.name} it is not known what lies where: no segments can be read")
        self.cache = cache
        self._chunks: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Make, or open, what belongs to chunks that are new in the cache."""
        new = range(len(self._chunks), len(self.cache.chunks))
        for index in tqdm(new, desc="segments", unit="chunk", mininterval=10.0, disable=len(new) < 2):
            path = self.cache.folder / f"{index:05d}.segments.npy"
            if not path.exists():
                with whole(path) as draft, open(draft, "wb") as file:
                    np.save(file, self.cache.kind.segments(index), allow_pickle=False)
            self._chunks.append(np.load(path, mmap_mode="r", allow_pickle=False))

    def of(self, indices: Sequence[int]) -> Tensor:
        """(b h w) int64."""
        rows = [self._chunks[i // self.cache.kind.chunk][i % self.cache.kind.chunk] for i in indices]
        return torch.from_numpy(np.stack(rows)).long()
