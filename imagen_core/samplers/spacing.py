"""At which times is the network called? Grids of strictly decreasing t from noise towards the picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..schedules import Schedule

# Logsnr of the first and the last call of the spacings that do not run over all of [0, 1]. Chosen by solver error on
# Gaussian mixtures: an earlier start wastes calls on pure noise, a later one fixes colours from too much of it; a later
# end wastes calls on noise below one 8-bit level, an earlier one blurs (at 9, sigma is 1.4 levels).
NOISY_LOGSNR, CLEAN_LOGSNR = -10.0, 9.0


def time_grid(schedule: Schedule, calls: int, spacing: str = "uniform") -> Tensor:
    """The times of `calls` calls of the network: (calls,) float64 on the CPU, strictly decreasing in [0, 1].

    After the last of them a sampler jumps to the clean picture. spacing: a key of SPACINGS. Raises ValueError for an
    unknown spacing, no calls, or more calls than a discrete schedule has timesteps.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}: expected one of {', '.join(SPACINGS)}")
    if calls < 1:
        raise ValueError(f"{calls} calls of the network draw nothing: ask for at least 1")
    return schedule.snap(SPACINGS[spacing](schedule, calls))


def _uniform(schedule: Schedule, calls: int) -> Tensor:
    """Equal steps of t from 1, as Imagen samples. The clean end is stepped to, not called, where it is clean."""
    end = 1.0 / calls if schedule.zero_is_clean else 0.0
    return _linspace(1.0, end, calls)


def _uniform_logsnr(schedule: Schedule, calls: int) -> Tensor:
    """Equal steps of the logsnr, on which exponential integrators such as DPM-Solver++ are built."""
    start, end = _ends(schedule)
    return schedule.logsnr_to_t(_linspace(start, end, calls))


def _karras(schedule: Schedule, calls: int, rho: float = 7.0) -> Tensor:
    """Equal steps of (sigma / alpha)^(1 / rho): EDM, Eq. 5 (arXiv 2206.00364)."""
    start, end = _ends(schedule)
    sigma_ve = torch.exp(-0.5 * torch.tensor([start, end], dtype=torch.float64)) ** (1.0 / rho)
    return schedule.logsnr_to_t(-2.0 * rho * torch.log(_linspace(*sigma_ve.tolist(), calls)))


SPACINGS: dict[str, Callable[[Schedule, int], Tensor]] = {
    "uniform": _uniform,
    "logsnr": _uniform_logsnr,
    "karras": _karras,
}


def _linspace(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _ends(schedule: Schedule) -> tuple[float, float]:
    """The logsnr of the first and the last call, within what the schedule reaches."""
    noisiest, cleanest = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    return max(NOISY_LOGSNR, noisiest), min(CLEAN_LOGSNR, cleanest)
