"""How does LCM sample? Each call's picture is noised anew to the next time: arXiv 2310.04378, Algorithm 3.

As ComfyUI's and k-diffusion's `lcm` do: with x_t / alpha in place of x_t it is x = denoised + sigma * noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class LCM(Sampler):
    """Believe the predicted picture, and noise it anew. For networks distilled to few calls; others lose detail by it."""

    name: ClassVar[str] = "lcm"
    default_spacing: ClassVar[str] = "uniform"
    solves: ClassVar[bool] = False

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        for t, s in pairwise(grid):
            x_t = s.alpha * denoise(x_t, t.t).x_0 + s.sigma * noise()
        return x_t
