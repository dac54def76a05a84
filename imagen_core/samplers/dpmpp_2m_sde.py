"""How does SDE-DPM-Solver++ (2M) sample? 2M's step with fresh noise: arXiv 2211.01095, section 5 and appendix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ._base import Denoise, Level, Noise, Sampler
from .dpmpp_2m import extrapolate


@dataclass(frozen=True, kw_only=True)
class DPMPP2MSDE(Sampler):
    """2M with noise: forgives the network's errors as DDPM does, in a fraction of its calls.

    eta: strength of the noise. 1 solves the diffusion SDE, whose first-order step is DDPM's; 0 is dpmpp_2m.
    """

    name: ClassVar[str] = "dpmpp_2m_sde"
    default_spacing: ClassVar[str] = "logsnr"
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.eta < 0.0:
            raise ValueError(f"eta {self.eta} is negative: 0 is without noise, 1 the diffusion SDE")

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        before = x_0_before = None
        for t, s in pairwise(grid):
            x_0 = denoise(x_t, t.t).x_0
            ahead = extrapolate(x_0, x_0_before, before, t, s)
            # Noise of strength eta removes x_t's own noise eta^2 h faster, h the step in log(alpha / sigma).
            h, extra = s.lam - t.lam, self.eta**2 * (s.lam - t.lam)
            x_t = (s.sigma / t.sigma) * math.exp(-extra) * x_t - s.alpha * math.expm1(-h - extra) * ahead
            if self.eta > 0.0:
                x_t = x_t + s.sigma * math.sqrt(-math.expm1(-2.0 * extra)) * noise()
            before, x_0_before = t, x_0
        return x_t
