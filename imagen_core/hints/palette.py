"""Which colours does a picture have, and roughly where? Its mean colour in each cell of a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from ..super_resolution import resize
from ._base import Hint

SAME = 0.05  # of 2: how far a pixel may be from its cell's mean colour where a picture is a palette


@dataclass(frozen=True, kw_only=True)
class Palette(Hint):
    """Mean colours by area, as flat cells.

    cells: a side of the grid; 8 says where colours are and nothing of shapes.
    """

    name: ClassVar[str] = "palette"
    resizing: ClassVar[str] = "blocks"
    what: ClassVar[str] = "flat cells of colour"
    cells: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.cells <= 64:
            raise ValueError(f"a palette of {self.cells} cells a side: expected 1 to 64, 8 is usual")

    def __call__(self, pictures: Tensor) -> Tensor:
        return F.interpolate(self.means(pictures), size=tuple(pictures.shape[-2:]), mode="nearest-exact")

    def means(self, pictures: Tensor) -> Tensor:
        """The grid itself: (b 3 h w) -> (b 3 cells cells), fewer where the picture has fewer pixels."""
        return resize(pictures, tuple(min(self.cells, side) for side in pictures.shape[-2:]))

    def fits(self, picture: Tensor) -> bool:
        return bool(((self(picture) - picture).abs() > SAME).float().mean() < 0.1)
