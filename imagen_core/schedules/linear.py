"""What is the linear schedule? DDPM's betas 1e-4 ... 0.02 of 1000 steps, in continuous time; Imagen's 256 -> 1024.

Score-Based Generative Modeling through SDEs (arXiv 2011.13456, Eq. 33): with beta(t) growing linearly,
alpha^2 = exp(-(beta_min t + (beta_max - beta_min) t^2 / 2)), where 1000 discrete betas sum to the integral.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Schedule, check_logsnr_range

BETA_MIN, BETA_MAX = 0.1, 20.0  # 1000 times the first and the last of DDPM's betas


@dataclass(frozen=True, kw_only=True)
class LinearSchedule(Schedule):
    """logsnr = -log(exp(B(t)) - 1), B(t) the integral of linearly growing betas; about -10 at t = 1.

    logsnr_min, logsnr_max: times at which the logsnr would lie beyond them are squeezed out of [0, 1].
    """

    name: ClassVar[str] = "linear"
    logsnr_min: float = -20.0
    logsnr_max: float = 20.0

    def __post_init__(self) -> None:
        check_logsnr_range(self.logsnr_min, self.logsnr_max)

    def _ends(self) -> tuple[float, float]:
        """The times of the unclipped schedule at which it has logsnr_max and (unless 1 comes first) logsnr_min."""
        first, last = (_time(math.log1p(math.exp(-logsnr))) for logsnr in (self.logsnr_max, self.logsnr_min))
        return first, min(last, 1.0)

    def _logsnr(self, t: Tensor) -> Tensor:
        first, last = self._ends()
        t = first + t * (last - first)
        return -torch.log(torch.expm1(BETA_MIN * t + 0.5 * (BETA_MAX - BETA_MIN) * t * t))

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        first, last = self._ends()
        return (_time(torch.logaddexp(-logsnr, torch.zeros_like(logsnr))) - first) / (last - first)


def _time(integral):
    """Solve beta_min t + (beta_max - beta_min) t^2 / 2 = integral, in the form that does not cancel near 0."""
    return 2.0 * integral / (BETA_MIN + (BETA_MIN**2 + 2.0 * (BETA_MAX - BETA_MIN) * integral) ** 0.5)
