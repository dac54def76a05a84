"""How do drawings come out sharp at 256 and 1024 px? Drawn from their own SVG at the size they have in the picture.

The 3D set itself is 256 px pictures; above that its artists' SVG version of the same drawings stands in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .names import Vocabulary, codes_by_label, things
from .packages import obtain
from .rendering import Drawing, render
from .solids import drawings_and_solids
from .sources import LARGE_3D, NAMES, PICTURES, Package


@dataclass(frozen=True)
class VectorLibrary(Vocabulary):
    """Drawings as their packages hold them, by style and thing. `draw` is what `pictures.Library.draw` is."""

    sources: dict[str, dict[int, Drawing]]

    @property
    def found(self) -> dict[str, dict[int, Drawing]]:
        return self.sources

    def draw(self, style: str, thing: int, size: int) -> np.ndarray:
        """RGBA (size size 4) uint8, straight alpha."""
        return _rendered(self.sources[style][thing], size)


@lru_cache(maxsize=64)
def _rendered(drawing: Drawing, size: int) -> np.ndarray:
    return render(drawing, size, supersample=1 if size > 128 else 2)


@lru_cache(maxsize=2)  # reading the packages costs more than drawing a chunk of pictures
def open_vectors(
    packages: Path,
    *,
    side: int,
    pictures: tuple[Package, ...] = PICTURES,
    names: Package = NAMES[0],
    large_3d: Package = LARGE_3D,
) -> VectorLibrary:
    """The drawings for pictures of `side` px, from `packages` (fetched where they lack). ValueError: as `obtain`."""
    vocabulary = things()
    codes = codes_by_label(obtain(names, packages))
    index = {codes[thing.label]: i for i, thing in enumerate(vocabulary) if thing.label in codes}
    listed = {package.style: _listed(package, packages) for package in pictures}
    if side > 256:
        flat = {drawing.id: drawing.code for drawing in listed["flat"]}  # by the same artists, under the same ids
        listed["3d"] = _listed(large_3d, packages, flat)
    sources = {style: {index[d.code]: d for d in each if d.code in index} for style, each in listed.items()}
    return VectorLibrary(vocabulary, sources)


def _listed(package: Package, packages: Path, codes: dict[str, str] | None = None) -> list[Drawing]:
    return drawings_and_solids(package, obtain(package, packages), codes)
