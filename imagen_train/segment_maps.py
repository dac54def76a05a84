"""What lies where in a training picture, and how near is it? Known of pictures that were composed or rendered.

A chunk `00012.npy` of pictures gets a file `00012.segments.npy`, (n h w) uint8: 0 the backdrop, 1 the first thing, and so
on; and `00012.depths.npy`, 0 the farthest and 255 the nearest. Each is made when it is first asked for, from the scenes that
the chunk shows, and moved into place whole.

Shapes: n pictures of a chunk, b of a batch, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.whole_files import whole

from .data import PictureCache


class PictureMaps:
    """What is known of every place in a cache's pictures; `refresh()` takes in new chunks.

    A source that knows it has a method named `name`: (n h w) uint8 of chunk `index`. ValueError for one that does not.
    """

    name: ClassVar[str]
    unknown: ClassVar[str]  # for errors

    def __init__(self, cache: PictureCache):
        if not self.known_of(cache):
            raise ValueError(f"of {cache.kind.name} {self.unknown}")
        self.cache = cache
        self._chunks: list[np.ndarray] = []
        self.refresh()

    @classmethod
    def known_of(cls, cache: PictureCache) -> bool:
        """Whether the cache's pictures were made of scenes that say it, and are kept whole."""
        kind = cache.kind
        return hasattr(kind, cls.name) and kind.window is None and not getattr(kind, "textures", False)

    def refresh(self) -> None:
        """Make, or open, what belongs to chunks that are new in the cache."""
        new = range(len(self._chunks), len(self.cache.chunks))
        for index in tqdm(new, desc=self.name, unit="chunk", mininterval=10.0, disable=len(new) < 2):
            path = self.cache.folder / f"{index:05d}.{self.name}.npy"
            if not path.exists():
                with whole(path) as draft, open(draft, "wb") as file:
                    np.save(file, getattr(self.cache.kind, self.name)(index), allow_pickle=False)
            self._chunks.append(np.load(path, mmap_mode="r", allow_pickle=False))

    def of(self, indices: Sequence[int]) -> Tensor:
        """(b h w) uint8."""
        rows = [self._chunks[i // self.cache.kind.chunk][i % self.cache.kind.chunk] for i in indices]
        return torch.from_numpy(np.stack(rows))


class SegmentMaps(PictureMaps):
    """Which thing is where, by number; 0 the backdrop."""

    name: ClassVar[str] = "segments"
    unknown: ClassVar[str] = "it is not known what lies where: no segments can be read"

    def of(self, indices: Sequence[int]) -> Tensor:
        """(b h w) int64."""
        return super().of(indices).long()


class DepthMaps(PictureMaps):
    """How near what lies there is, 0 to 1."""

    name: ClassVar[str] = "depths"
    unknown: ClassVar[str] = (
        "it is not known how near what they show is, and no picture says it by itself: train depth on pictures that were "
        "composed or rendered, such as things64_wide or base64"
    )

    def of(self, indices: Sequence[int]) -> Tensor:
        """(b h w) float32 in [0, 1]."""
        return super().of(indices).float() / 255.0
