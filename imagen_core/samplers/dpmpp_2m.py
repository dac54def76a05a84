"""How does DPM-Solver++ (2M) sample? A second-order multistep on x_0, the default: arXiv 2211.01095, Algorithm 2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMPP2M(Sampler):
    """Deterministic; extrapolates x_0 from the last two calls. 21 calls are about as exact as 251 of DDIM."""

    name: ClassVar[str] = "dpmpp_2m"
    default_spacing: ClassVar[str] = "logsnr"

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        before = x_0_before = None
        for t, s in pairwise(grid):
            x_0 = denoise(x_t, t.t).x_0
            ahead = extrapolate(x_0, x_0_before, before, t, s)
            # Eq. 9: the linear part of the ODE is solved exactly, x_0 is held at its value half a step ahead.
            x_t = (s.sigma / t.sigma) * x_t - s.alpha * math.expm1(t.lam - s.lam) * ahead
            before, x_0_before = t, x_0
        return x_t


def extrapolate(x_0: Tensor, x_0_before: Tensor | None, before: Level | None, t: Level, s: Level) -> Tensor:
    """x_0 half a step ahead, on the line through this call's and the one before; the first call's own at first.

    Algorithm 2: D = (1 + 1 / 2r) x_0 - 1 / 2r x_0_before, r the ratio of the last step in log(alpha / sigma) to this.
    """
    if x_0_before is None:
        return x_0
    r = (t.lam - before.lam) / (s.lam - t.lam)
    return x_0 + (x_0 - x_0_before) * (0.5 / r)
