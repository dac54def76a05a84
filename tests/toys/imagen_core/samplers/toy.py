"""What is the least that a sampler is? Euler's step along sigma / alpha, which is DDIM's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class ToySampler(Sampler):
    """Predict, and go where the prediction points."""

    name: ClassVar[str] = "toy"
    default_spacing: ClassVar[str] = "logsnr"

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        for t, s in pairwise(grid):
            prediction = denoise(x_t, t.t)
            x_t = s.alpha * prediction.x_0 + s.sigma * prediction.eps
        return x_t
