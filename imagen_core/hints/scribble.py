"""What would a hand sketch of a picture? Its large outlines in a thick pen, white on black."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ._base import Hint, as_picture, is_dark, is_grey, is_thin, uniform
from .edges import Edges

BENDS = 5  # a side: points between which the pen strays smoothly
BASE_SIDE = 64  # of a picture for which the pen's width and the blur are said


@dataclass(frozen=True, kw_only=True)
class Scribble(Hint):
    """Edges of the blurred picture, drawn with a thick pen; what is sketched by hand in a mask editor looks alike.

    sigma: how much the picture is blurred first, in pixels of a picture 64 wide: larger keeps fewer lines.
    pen: width of the lines, in such pixels.
    wobble: how far the pen strays, as a hand's does, in such pixels; 0 follows the lines exactly.
    seed: of where it strays.
    """

    name: ClassVar[str] = "scribble"
    resizing: ClassVar[str] = "lines"
    what: ClassVar[str] = "thick white lines on black"
    reads_regions: ClassVar[bool] = True
    sigma: float = 1.8
    pen: float = 2.5
    wobble: float = 0.0
    seed: int = 0

    def __call__(self, pictures: Tensor) -> Tensor:
        return self._drawn(self._found(pictures))

    def known(self, pictures: Tensor, regions: Tensor) -> Tensor:
        """With the outline of every thing, which one draws also where its colour is as bright as the backdrop's."""
        return self._drawn(self._found(pictures) | _borders(regions))

    def _found(self, pictures: Tensor) -> Tensor:
        scale = max(pictures.shape[-2:]) / BASE_SIDE
        return Edges(sigma=min(32.0, self.sigma * scale), low=0.08 / scale, high=0.2 / scale).found(pictures)

    def _drawn(self, lines: Tensor) -> Tensor:
        """Lines (b 1 h w, bool), as the pen draws them."""
        scale = max(lines.shape[-2:]) / BASE_SIDE
        thick = _thick(lines.float(), self.pen * scale)
        return as_picture(_strayed(thick, self.wobble * scale, self.seed) if self.wobble else thick)

    def fits(self, picture: Tensor) -> bool:
        return is_grey(picture) and is_dark(picture)

    def typical(self, picture: Tensor) -> bool:
        return not is_thin(picture)

    def varied(self, generator: torch.Generator) -> Scribble:
        seed = int(torch.randint(2**31, (), generator=generator))
        wobble = uniform(0.0, 1.5, generator)
        return replace(
            self, sigma=uniform(1.2, 2.5, generator), pen=uniform(1.5, 3.5, generator), wobble=wobble, seed=seed
        )


def _borders(regions: Tensor) -> Tensor:
    """Regions (b h w) -> where the next pixel to the right or below is of another, (b 1 h w) bool."""
    found = torch.zeros_like(regions, dtype=torch.bool)
    found[:, :, :-1] |= regions[:, :, 1:] != regions[:, :, :-1]
    found[:, :-1] |= regions[:, 1:] != regions[:, :-1]
    return found[:, None]


def _strayed(lines: Tensor, reach: float, seed: int) -> Tensor:
    """Lines (b 1 h w) shifted by a smooth field of its own for each picture, of deviation `reach` pixels."""
    b, _, h, w = lines.shape
    coarse = torch.randn(b, 2, BENDS, BENDS, generator=torch.Generator().manual_seed(seed)).to(lines)
    shift = F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)  # b h w 2
    straight = F.affine_grid(torch.eye(2, 3).to(lines).expand(b, -1, -1), [b, 1, h, w], align_corners=False)
    sides = lines.new_tensor([2.0 / w, 2.0 / h])
    return (F.grid_sample(lines, straight + shift * reach * sides, align_corners=False) > 0.5).to(lines)


def _thick(lines: Tensor, pen: float) -> Tensor:
    """Lines (b 1 h w) one pixel wide drawn with a pen of odd width nearest to `pen`."""
    reach = max(0, round((pen - 1.0) / 2.0))
    return F.max_pool2d(lines, 2 * reach + 1, stride=1, padding=reach) if reach else lines
