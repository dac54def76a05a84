"""What is EDM's schedule? Noise of any deviation put on the picture as it is (arXiv 2206.00364, Table 1).

Theirs is x = x_0 + sigma_ve eps, which is our x_t / alpha: `input_scale` brings it to unit variance as theirs does (c_in),
and the network is told ln(sigma_ve) / 4 (c_noise). What it puts out is another question: `predictions.consistency`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Schedule, _float64


@dataclass(frozen=True, kw_only=True)
class EDMSchedule(Schedule):
    """ln(sigma_ve) is linear in t, from sigma_min at 0 to sigma_max at 1.

    sigma_min, sigma_max: deviations of the noise, relative to the picture's. sigma_data: deviation of the data.
    time_scale: what ln(sigma_ve) / 4 is multiplied by for the network: 1000 of OpenAI's (Consistency Models), 1 of EDM's.
    """

    name: ClassVar[str] = "edm"
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    time_scale: float = 1000.0

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma_min < self.sigma_max or min(self.sigma_data, self.time_scale) <= 0.0:
            raise ValueError(
                f"sigma_min {self.sigma_min}, sigma_max {self.sigma_max}, sigma_data {self.sigma_data} and time_scale "
                f"{self.time_scale} must be above 0, and sigma_min below sigma_max: 0.002, 80, 0.5 and 1000 are usual"
            )

    def _log_sigma_ve(self, t: Tensor) -> Tensor:
        first, last = math.log(self.sigma_min), math.log(self.sigma_max)
        return first + _float64(t).clamp(0.0, 1.0) * (last - first)

    def _logsnr(self, t: Tensor) -> Tensor:
        return -2.0 * self._log_sigma_ve(t)

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        first, last = math.log(self.sigma_min), math.log(self.sigma_max)
        return (-0.5 * logsnr - first) / (last - first)

    def network_time(self, t: Tensor) -> Tensor:
        """time_scale ln(sigma_ve) / 4: c_noise."""
        return (0.25 * self.time_scale * self._log_sigma_ve(t)).to(t)

    def input_scale(self, t: Tensor) -> Tensor:
        """c_in / alpha, c_in = (sigma_ve^2 + sigma_data^2)^(-1/2)."""
        variance = torch.exp(2.0 * self._log_sigma_ve(t))
        return ((1.0 + variance) / (self.sigma_data**2 + variance)).sqrt().to(t)
