"""Which colours does a picture have, and roughly where? Its mean colour in each cell of a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from ..super_resolution import resize
from ._base import Hint

OTHERS = 32  # cells a side: the most that a palette is told by which is none of ours
SURELY_SAME = 0.02  # of 2: how far a pixel may be from its cell's mean there
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
        return self._is_flat(picture, SAME, 0.1)

    def _is_flat(self, picture: Tensor, same: float, share: float) -> bool:
        """Whether all but a share of the pixels have the colour of their cell, within `same` of 2."""
        return bool(((self(picture) - picture).abs() > same).float().mean() < share)

    def misfit(self, picture: Tensor) -> str:
        most = min(OTHERS, *(side // 3 for side in picture.shape[-2:]))  # smaller cells are the picture itself
        for cells in range(2, most + 1):
            if Palette(cells=cells)._is_flat(picture, SURELY_SAME, 0.02):
                return (
                    f"a palette of {cells} cells a side, and controls are trained on {self.cells}: set cells of Imagen "
                    f"Palette to {self.cells}, or paint a picture of {self.cells} x {self.cells} pixels"
                )
        return ""
