"""How does EDM's Heun sampler step? Euler there, average the two slopes: arXiv 2206.00364, Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ..schedules import Schedule
from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Second order, one-step and deterministic. Calls the network twice a step: 2 n - 1 calls on n times."""

    name: ClassVar[str] = "heun"
    default_spacing: ClassVar[str] = "logsnr"

    def times(self, schedule: Schedule, calls: int, spacing: str | None = None) -> Tensor:
        """The grid whose 2 n - 1 calls are `calls`, or one fewer when `calls` is even."""
        return super().times(schedule, calls if calls < 1 else (calls + 1) // 2, spacing)

    def calls(self, times: Tensor) -> int:
        return 2 * len(times) - 1

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        for t, s in pairwise(grid):
            here = denoise(x_t, t.t)
            x_s = s.alpha * here.x_0 + s.sigma * here.eps  # Euler's step is DDIM's
            there = denoise(x_s, s.t)
            # In x / alpha, the slope along sigma / alpha is eps. Replacing eps by the mean of the two moves x_s by
            # (sigma_s / alpha_s - sigma_t / alpha_t) alpha_s times half their difference.
            x_t = x_s + 0.5 * (s.sigma - t.sigma / t.alpha * s.alpha) * (there.eps - here.eps)
        return x_t
