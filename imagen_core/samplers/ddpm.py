"""How does DDPM's ancestral sampler step in continuous time? Imagen, Eq. 6 (arXiv 2205.11487, appendix A).

Learned variance: Improved DDPM, Eq. 15 (arXiv 2102.09672).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from ..denoiser import Prediction
from ._base import Denoise, Level, Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DDPM(Sampler):
    """Draw x_s from q(x_s | x_t, x_0); needs hundreds of calls. A learned variance takes the place of gamma.

    gamma: where between the posterior's variance (0, "fixed small") and beta's (1, "fixed large": DDPM, section 3.2) the
        log-variance of the step lies.
    fixed: whether gamma is also taken where the network has learned a variance.
    """

    name: ClassVar[str] = "ddpm"
    default_spacing: ClassVar[str] = "uniform"
    noisiest_logsnr: ClassVar[float] = -math.inf
    gamma: float = 0.0
    fixed: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma {self.gamma} is outside [0, 1]: 0 is the posterior's variance, 1 beta's")

    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        for t, s in pairwise(grid):
            prediction = denoise(x_t, t.t)
            x_t = posterior_mean(x_t, prediction.x_0, t, s) + self._sigma(prediction, t, s) * noise()
        return x_t

    def _sigma(self, prediction: Prediction, t: Level, s: Level) -> Tensor | float:
        """Standard deviation of the step: posterior sigma^(1 - gamma) times sqrt(beta)^gamma, of Eq. 6."""
        learned = None if self.fixed else prediction.variance_frac
        gamma = self.gamma if learned is None else learned
        posterior_sigma = s.sigma * math.sqrt(replaced(t, s))
        return posterior_sigma * (t.sigma / s.sigma) ** gamma  # sqrt(beta) is t.sigma / s.sigma times as large


def replaced(t: Level, s: Level) -> float:
    """1 - exp(logsnr_t - logsnr_s): beta / sigma_t^2, the share of x_t's noise that is newer than s."""
    return -math.expm1(2.0 * (t.lam - s.lam))


def posterior_mean(x_t: Tensor, x_0: Tensor, t: Level, s: Level) -> Tensor:
    """Mean of q(x_s | x_t, x_0): Imagen, Eq. 2 (appendix A), DDPM, Eq. 7."""
    return (t.alpha * s.sigma**2) / (s.alpha * t.sigma**2) * x_t + replaced(t, s) * s.alpha * x_0
