"""What is a hint? What a control reads of a picture, made from any picture without a network.

Shapes: b images, c h w a picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear red, green and blue (ITU-R BT.709), used on the pixels as they are
GREY = 0.06  # how far colours of a grey picture may be apart, of 2: compression leaves some


@dataclass(frozen=True, kw_only=True)
class Hint(ABC):
    """hint(pictures (b 3 h w) in [-1, 1]) -> the same shape and range. A frozen dataclass of settings."""

    name: ClassVar[str]
    resizing: ClassVar[str] = "smooth"  # how one is brought to another size: "lines", "blocks", "flat" or "smooth"
    what: ClassVar[str] = "a picture"  # for errors
    reads_regions: ClassVar[bool] = False  # whether `known` says more than the picture alone does
    reads_depths: ClassVar[bool] = (
        False  # whether it has `of_depths`, and a picture alone, unless it is one of depth, says none
    )

    @abstractmethod
    def __call__(self, pictures: Tensor) -> Tensor:
        """The hint of each picture."""

    def known(self, pictures: Tensor, regions: Tensor) -> Tensor:
        """The hint of each picture of which it is known what lies where: regions (b h w), 0 the backdrop."""
        return self(pictures)

    def fits(self, picture: Tensor) -> bool:
        """Whether a picture may be a hint of this kind; said of (b 3 h w) in [-1, 1]."""
        return True

    def typical(self, picture: Tensor) -> bool:
        """Of a picture that fits, whether it more likely is of this kind than of another that it fits as well."""
        return True

    def misfit(self, picture: Tensor) -> str:
        """Of a picture that does not fit, what it is and what to do, where that can be told; else nothing."""
        return ""

    def varied(self, generator: torch.Generator) -> Hint:
        """The same with settings drawn anew, so that a control learns to read hints of any of them."""
        return self


def is_grey(picture: Tensor) -> bool:
    """Whether red, green and blue are the same in all but a few places."""
    apart = picture.amax(1) - picture.amin(1)
    return bool((apart > GREY).float().mean() < 0.01)


def is_dark(picture: Tensor) -> bool:
    """Whether there is more black than white, as where lines are drawn."""
    return bool(picture.mean() < 0.0)


def is_thin(picture: Tensor) -> bool:
    """Whether hardly a white pixel has none but white ones around it, as in lines one pixel wide."""
    white = (picture.amax(1, keepdim=True) > 0.0).float()
    inside = 1.0 - F.max_pool2d(1.0 - white, 3, stride=1, padding=1)
    return bool(inside.sum() <= 0.02 * white.sum())


def luminance(pictures: Tensor) -> Tensor:
    """(b 3 h w) in [-1, 1] as how bright it is, (b 1 h w) in [0, 1]."""
    weights = torch.tensor(LUMINANCE, dtype=pictures.dtype, device=pictures.device)[:, None, None]
    return ((pictures + 1.0) / 2.0 * weights).sum(1, keepdim=True)


def as_picture(lines: Tensor) -> Tensor:
    """(b 1 h w) in [0, 1], white on black, as (b 3 h w) in [-1, 1]."""
    return (lines * 2.0 - 1.0).expand(-1, 3, -1, -1)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
