"""What would a hand sketch of a picture? Its large outlines in a thick pen, white on black."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ._base import Hint, as_picture, is_dark, is_grey, is_thin, uniform
from .edges import Edges

BASE_SIDE = 64  # of a picture for which the pen's width and the blur are said


@dataclass(frozen=True, kw_only=True)
class Scribble(Hint):
    """Edges of the blurred picture, drawn with a thick pen; what is sketched by hand in a mask editor looks alike.

    sigma: how much the picture is blurred first, in pixels of a picture 64 wide: larger keeps fewer lines.
    pen: width of the lines, in such pixels.
    """

    name: ClassVar[str] = "scribble"
    resizing: ClassVar[str] = "lines"
    what: ClassVar[str] = "thick white lines on black"
    sigma: float = 1.8
    pen: float = 2.5

    def __call__(self, pictures: Tensor) -> Tensor:
        scale = max(pictures.shape[-2:]) / BASE_SIDE
        lines = Edges(sigma=min(32.0, self.sigma * scale), low=0.08 / scale, high=0.2 / scale).found(pictures).float()
        return as_picture(_thick(lines, self.pen * scale))

    def fits(self, picture: Tensor) -> bool:
        return is_grey(picture) and is_dark(picture)

    def typical(self, picture: Tensor) -> bool:
        return not is_thin(picture)

    def varied(self, generator: torch.Generator) -> Scribble:
        return replace(self, sigma=uniform(1.2, 2.5, generator), pen=uniform(1.5, 3.5, generator))


def _thick(lines: Tensor, pen: float) -> Tensor:
    """Lines (b 1 h w) one pixel wide drawn with a pen of odd width nearest to `pen`."""
    reach = max(0, round((pen - 1.0) / 2.0))
    return F.max_pool2d(lines, 2 * reach + 1, stride=1, padding=reach) if reach else lines
