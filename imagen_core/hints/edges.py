"""Where are a picture's edges? Canny's, one pixel wide, white on black."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Hint, as_picture, is_dark, is_grey, is_thin, luminance, uniform
from ._gradients import blurred, connected, ridges, sobel


@dataclass(frozen=True, kw_only=True)
class Edges(Hint):
    """Canny's edges of the brightness.

    sigma: how much the picture is blurred first, in pixels; more leaves out texture and noise.
    low, high: how strong an edge must be where it goes on from another, and where it begins, as Sobel's operator
        measures it (and scikit-image and ComfyUI do): a step from black to white is 4.
    """

    name: ClassVar[str] = "edges"
    resizing: ClassVar[str] = "lines"
    what: ClassVar[str] = "thin white lines on black"
    sigma: float = 1.0
    low: float = 0.1
    high: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.high:
            raise ValueError(f"thresholds {self.low} and {self.high}: expected 0 <= low <= high")
        if not 0.0 <= self.sigma <= 32.0:
            raise ValueError(f"sigma {self.sigma} is outside [0, 32]: 1 is usual, 3 leaves only what is large")

    def __call__(self, pictures: Tensor) -> Tensor:
        return as_picture(self.found(pictures).float())

    def found(self, pictures: Tensor) -> Tensor:
        """The same as bool (b 1 h w)."""
        down, right = sobel(blurred(luminance(pictures.float()), self.sigma))
        strength = torch.hypot(down, right)
        weak = ridges(down, right) & (strength >= self.low)
        return connected(weak, strength >= self.high)

    def fits(self, picture: Tensor) -> bool:
        return is_grey(picture) and is_dark(picture)

    def typical(self, picture: Tensor) -> bool:
        return is_thin(picture)

    def varied(self, generator: torch.Generator) -> Edges:
        low = uniform(0.06, 0.2, generator)
        return replace(self, sigma=uniform(0.7, 1.4, generator), low=low, high=low * uniform(1.5, 2.5, generator))
