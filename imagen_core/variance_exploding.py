"""How do hosts that write x = x_0 + sigma_ve eps (k-diffusion, EDM) speak of our times? Conversions at that border.

There x = x_t / alpha and sigma_ve = sigma / alpha = exp(-logsnr / 2): EDM (arXiv 2206.00364), section 2. All in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .samplers.spacing import CLEAN_LOGSNR, NOISY_LOGSNR
from .schedules import Schedule
from .schedules._base import _float64


def sigma_ve_to_t(schedule: Schedule, sigma_ve: Tensor) -> Tensor:
    """The time in [0, 1], float64 in sigma_ve's shape, at which the schedule has this sigma_ve; or the nearer end."""
    return schedule.logsnr_to_t(-2.0 * torch.log(_float64(sigma_ve)))


def t_to_sigma_ve(schedule: Schedule, t: Tensor) -> Tensor:
    """sigma_ve, float64, at times `t` in [0, 1]."""
    return torch.exp(-0.5 * schedule.logsnr(_float64(t)))


def sigma_ve_table(schedule: Schedule, count: int = 1000) -> Tensor:
    """`count` levels (count,) float64, rising, evenly spaced in t between the ends that our own samplers keep to.

    The whole range of a cosine schedule reaches sigma_ve = 22026, where a host's grids would waste most of their calls
    and float32 holds x_0 to two digits.
    """
    clean, noisy = schedule.logsnr_to_t(torch.tensor([CLEAN_LOGSNR, NOISY_LOGSNR], dtype=torch.float64)).tolist()
    return t_to_sigma_ve(schedule, torch.linspace(clean, noisy, count, dtype=torch.float64))
