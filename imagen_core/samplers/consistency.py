"""How is a consistency model sampled? It jumps to a picture, which is noised less and jumped from again (arXiv 2303.01469).

Algorithm 1, in one call or a few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ..schedules import Schedule
from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class Consistency(Sampler):
    """One call draws; each further one noises the picture anew and repairs it. For consistency models alone.

    sigmas: the noise to call at, as EDM's sigma, from most to least: 80, 1.38. Empty: even steps of sigma^(1/7).
    """

    name: ClassVar[str] = "consistency"
    default_spacing: ClassVar[str] = "consistency"
    noisiest_logsnr: ClassVar[float] = -math.inf
    jumps: ClassVar[bool] = True
    solves: ClassVar[bool] = False
    sigmas: str = ""

    def __post_init__(self) -> None:
        levels = self._sigmas()
        if not all(math.isfinite(level) and level > 0.0 for level in levels) or sorted(set(levels))[::-1] != levels:
            raise ValueError(f"sigmas {self.sigmas!r} must be numbers above 0, from most to least noise: 80, 1.38")

    def _sigmas(self) -> list[float]:
        try:
            return [float(number) for number in self.sigmas.split(",")] if self.sigmas.strip() else []
        except ValueError:
            return [math.nan]

    def times(self, schedule: Schedule, calls: int, spacing: str | None = None) -> Tensor:
        """Those of `sigmas`, where there are any, whatever `calls` and `spacing` are.

        Raises ValueError for noise that the schedule does not reach.
        """
        if not self._sigmas():
            return super().times(schedule, calls, spacing)
        wanted = -2.0 * torch.tensor(self._sigmas(), dtype=torch.float64).log()
        noisiest, cleanest = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64))
        if (wanted < noisiest - 1e-6).any() or (wanted > cleanest + 1e-6).any():
            least, most = (math.exp(-0.5 * end) for end in (cleanest.item(), noisiest.item()))
            raise ValueError(f"sigmas {self.sigmas!r} leave what this stage knows: {least:g} to {most:g}")
        return schedule.logsnr_to_t(wanted)

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        alpha, sigma = denoise.schedule.alpha_sigma(torch.zeros((), dtype=torch.float64))
        least = (sigma / alpha).item()  # the noise that pictures are taken to have: Algorithm 1's epsilon
        for t, s in pairwise(grid):
            fresh = math.sqrt(max(s.sigma**2 - (s.alpha * least) ** 2, 0.0))
            x_t = s.alpha * denoise(x_t, t.t).x_0 + fresh * noise()
        return x_t
