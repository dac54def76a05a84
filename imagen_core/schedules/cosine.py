"""What is the cosine schedule? alpha = cos(pi t / 2), Imagen's schedule for the base and the first super-resolution.

Continuous form: Improved DDPM (arXiv 2102.09672, section 3.2) without its offset; truncated as in Classifier-Free
Diffusion Guidance (arXiv 2207.12598, section 2); shifted as in simple diffusion (arXiv 2301.11093, Eq. 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Schedule, check_logsnr_range


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(Schedule):
    """logsnr = -2 log tan(pi t / 2) + shift, with t squeezed a little so that both ends are finite.

    shift: added to the logsnr; 0 is the plain schedule, negative is noisier. 2 log(64 / side) is simple diffusion's
        choice for larger pictures; 2 log(0.6) scales tan by 1 / 0.6.
    logsnr_min, logsnr_max: logsnr at t = 1 and at t = 0.
    """

    name: ClassVar[str] = "cosine"
    shift: float = 0.0
    logsnr_min: float = -20.0
    logsnr_max: float = 20.0

    def __post_init__(self) -> None:
        check_logsnr_range(self.logsnr_min, self.logsnr_max)

    def _angles(self) -> tuple[float, float]:
        """The angles whose -2 log tan are the ends of the schedule: almost 0 and almost pi / 2."""
        first = math.atan(math.exp(-0.5 * (self.logsnr_max - self.shift)))
        last = math.atan(math.exp(-0.5 * (self.logsnr_min - self.shift)))
        return first, last

    def _logsnr(self, t: Tensor) -> Tensor:
        first, last = self._angles()
        return -2.0 * torch.log(torch.tan(first + t * (last - first))) + self.shift

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        first, last = self._angles()
        return (torch.atan(torch.exp(-0.5 * (logsnr - self.shift))) - first) / (last - first)
