"""Where, and how strongly, does a picture change? Its gradient as soft lines, brighter where more changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Hint, as_picture, is_dark, is_grey, luminance, uniform
from ._gradients import blurred, sobel


@dataclass(frozen=True, kw_only=True)
class SoftEdges(Hint):
    """The gradient of the brightness, blurred, and bent so that strong edges do not drown the others.

    sigma: how much the picture is blurred first, in pixels.
    gain: how soon a change is shown white; 8 shows a step of an eighth of the range at 0.76.
    """

    name: ClassVar[str] = "soft_edges"
    resizing: ClassVar[str] = "lines"
    what: ClassVar[str] = "soft bright lines on black"
    sigma: float = 1.0
    gain: float = 8.0

    def __call__(self, pictures: Tensor) -> Tensor:
        down, right = sobel(blurred(luminance(pictures.float()), self.sigma))
        return as_picture(torch.tanh(self.gain * torch.hypot(down, right) / 4.0))

    def fits(self, picture: Tensor) -> bool:
        return is_grey(picture) and is_dark(picture)

    def varied(self, generator: torch.Generator) -> SoftEdges:
        return replace(self, sigma=uniform(0.7, 2.0, generator), gain=uniform(5.0, 12.0, generator))
