"""At which times is the network called? Grids of strictly decreasing t from noise towards the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..schedules import Schedule
from ..schedules.discrete import DiscreteSchedule

# Logsnr of the first and the last call of the spacings that do not run over all of [0, 1]. Chosen by solver error on
# Gaussian mixtures: an earlier start wastes calls on pure noise, a later one fixes colours from too much of it; a later
# end wastes calls on noise below one 8-bit level, an earlier one blurs (at 9, sigma is 1.4 levels).
NOISY_LOGSNR, CLEAN_LOGSNR = -10.0, 9.0

# DeepFloyd IF's lists of timesteps, as Improved DDPM writes them (arXiv 2102.09672, section 4): the timesteps are cut
# into as many equal sections as there are numbers, and each number is how many of its section are called, evenly.
RESPACINGS: dict[str, tuple[int, ...]] = {
    "fast27": (10, 10, 3, 2, 2),
    "smart27": (7, 4, 2, 1, 2, 4, 7),
    "smart50": (10, 6, 4, 3, 2, 2, 3, 4, 6, 10),
    "smart100": (1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7, 8, 9, 10, 13),
    "smart185": (1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20),
    "super27": (1, 1, 1, 1, 1, 1, 1, 2, 5, 13),
    "super40": (2, 2, 2, 2, 2, 2, 3, 4, 6, 15),
    "super100": (4, 4, 6, 6, 8, 8, 10, 10, 14, 30),
}
# Others' lists: one of those, and by how many timesteps its noisiest call comes later. GLIDE's is called fast27
# there, and begins at 997, where DDIM does not have to guess from noise alone.
MOVED: dict[str, tuple[str, int]] = {"glide27": ("fast27", 2)}


def time_grid(
    schedule: Schedule, calls: int, spacing: str = "uniform", *, noisiest_logsnr: float = -math.inf
) -> Tensor:
    """The times of `calls` calls of the network: (calls,) float64 on the CPU, strictly decreasing in [0, 1].

    After the last of them a sampler jumps to the clean picture. spacing: a key of SPACINGS, of STRIDES, of RESPACINGS or of
    MOVED, or a list as RESPACINGS has them, "10,10,3,2,2", or in brackets the very timesteps, "[999, 700, 400, 100]"
    (times in [0, 1] of a schedule without timesteps); all but the first two fix the number of calls, whatever `calls` is.
    noisiest_logsnr: no call is noisier than this but those in brackets. Raises ValueError for an unknown spacing, no
    calls, more calls than a discrete schedule has timesteps, or timesteps asked of a schedule that has none.
    """
    if calls < 1:
        raise ValueError(f"{calls} calls of the network draw nothing: ask for at least 1")
    if spacing.startswith("["):
        return _these(spacing, schedule)
    if counts := listed(spacing):
        first, *others = respace(counts, _timesteps_of(schedule, spacing))
        _, later = MOVED.get(spacing, ("", 0))
        return _called([first - later, *others], schedule, noisiest_logsnr)
    if spacing in STRIDES:
        return STRIDES[spacing](schedule, calls, noisiest_logsnr)
    if spacing not in SPACINGS:
        known = ", ".join([*SPACINGS, *STRIDES, *RESPACINGS, *MOVED])
        raise ValueError(f"unknown spacing {spacing!r}: expected one of {known}")
    return schedule.snap(SPACINGS[spacing](schedule, calls, noisiest_logsnr))


def respace(counts: Sequence[int], num_timesteps: int = 1000) -> list[int]:
    """`counts[i]` timesteps of each of len(counts) equal sections of 0 ... num_timesteps - 1, decreasing.

    Sections that cannot be equal are one longer at the clean end. A section's first and last timestep are called, and
    the others evenly between; one alone is the first. Raises ValueError where a section is shorter than its count.
    """
    length, longer = divmod(num_timesteps, len(counts))
    timesteps, start = [], 0
    for section, count in enumerate(counts):
        size = length + (section < longer)
        if count > size:
            raise ValueError(f"{count} of {size} timesteps cannot all be different: ask for fewer calls")
        stride, place = (size - 1) / max(count - 1, 1), 0.0
        for _ in range(count):
            timesteps.append(start + round(place))
            place += stride  # summed up, not multiplied out: that is how published lists break their ties
        start += size
    return timesteps[::-1]


def listed(spacing: str | None) -> tuple[int, ...]:
    """How many timesteps of each section a spacing calls, by name or as "10,10,3,2,2"; nothing for other spacings."""
    named, _ = MOVED.get(spacing, (spacing, 0))
    if named in RESPACINGS:
        return RESPACINGS[named]
    numbers = (spacing or "").replace(" ", "").split(",")
    counts = tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else ()
    return counts if sum(counts) else ()


def _these(spacing: str, schedule: Schedule) -> Tensor:
    """The calls that a list in brackets names one by one. ValueError for what is no such list."""
    discrete = isinstance(schedule, DiscreteSchedule)
    most = schedule.num_timesteps - 1 if discrete else 1.0
    try:
        named = [float(number) for number in spacing.strip().removeprefix("[").removesuffix("]").split(",")]
    except ValueError:
        named = []
    whole = not discrete or all(number.is_integer() for number in named)
    if not named or not whole or sorted(set(named))[::-1] != named or not 0 <= named[-1] <= named[0] <= most:
        kind = f"timesteps, whole numbers from {most:g} to 0" if discrete else "times from 1 to 0"
        raise ValueError(f"spacing {spacing!r} lists no {kind}, from noisy to clean: [{most:g}, {0.5 * most:.1g}, 0]")
    return torch.tensor(named, dtype=torch.float64) / most


def _uniform(schedule: Schedule, calls: int, noisiest_logsnr: float) -> Tensor:
    """Equal steps of t from 1, as Imagen samples. The clean end is stepped to, not called, where it is clean."""
    latest = _latest(schedule, noisiest_logsnr)
    if isinstance(schedule, DiscreteSchedule) and 1 < calls <= (count := round(latest * _last(schedule)) + 1):
        return _to_time(respace((calls,), count), schedule)
    end = latest / calls if schedule.zero_is_clean else 0.0
    return _linspace(latest, end, calls)


def _leading(schedule: Schedule, calls: int, noisiest_logsnr: float) -> Tensor:
    """Whole strides up from timestep 0, moved by the schedule's steps_offset."""
    stride = _timesteps_of(schedule, "leading", calls) // calls
    return _called([i * stride + schedule.steps_offset for i in range(calls)], schedule, noisiest_logsnr)


def _between(schedule: Schedule, calls: int, noisiest_logsnr: float) -> Tensor:
    """From the first timestep to the last, each rounded to the nearest."""
    last = _timesteps_of(schedule, "linspace", calls) - 1
    return _called([round(step) for step in np.linspace(0, last, calls).tolist()], schedule, noisiest_logsnr)


def _trailing(schedule: Schedule, calls: int, noisiest_logsnr: float) -> Tensor:
    """Whole strides down from the last timestep, rounded."""
    count = _timesteps_of(schedule, "trailing", calls)
    return _called([round(count - i * (count / calls)) - 1 for i in range(calls)], schedule, noisiest_logsnr)


def _timesteps_of(schedule: Schedule, spacing: str, calls: int = 1) -> int:
    """How many timesteps there are. ValueError for a schedule without any, or with fewer than calls."""
    if not isinstance(schedule, DiscreteSchedule):
        raise ValueError(
            f"{spacing} counts timesteps, and this checkpoint knows continuous time: choose {', '.join(SPACINGS)}"
        )
    if calls > schedule.num_timesteps:
        raise ValueError(f"{calls} calls, and the network knows {schedule.num_timesteps} timesteps: ask for fewer")
    return schedule.num_timesteps


def _called(timesteps: Sequence[int], schedule: DiscreteSchedule, noisiest_logsnr: float) -> Tensor:
    """What is noisier than asked, or beyond the last timestep, gives way to the one timestep that just is not."""
    latest = round(_latest(schedule, noisiest_logsnr) * _last(schedule))
    return _to_time(sorted({max(0, min(timestep, latest)) for timestep in timesteps}, reverse=True), schedule)


def _uniform_logsnr(schedule: Schedule, calls: int, noisiest_logsnr: float) -> Tensor:
    """Equal steps of the logsnr, on which exponential integrators such as DPM-Solver++ are built."""
    start, end = _ends(schedule, noisiest_logsnr)
    return schedule.logsnr_to_t(_linspace(start, end, calls))


def _karras(schedule: Schedule, calls: int, noisiest_logsnr: float, rho: float = 7.0) -> Tensor:
    """Equal steps of (sigma / alpha)^(1 / rho): EDM, Eq. 5 (arXiv 2206.00364)."""
    start, end = _ends(schedule, noisiest_logsnr)
    sigma_ve = torch.exp(-0.5 * torch.tensor([start, end], dtype=torch.float64)) ** (1.0 / rho)
    return schedule.logsnr_to_t(-2.0 * rho * torch.log(_linspace(*sigma_ve.tolist(), calls)))


def _consistency(schedule: Schedule, calls: int, noisiest_logsnr: float, rho: float = 7.0) -> Tensor:
    """The same over all of the schedule, whose clean end is stepped to and not called: a single call is the noisiest."""
    noisiest, cleanest = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    ends = [math.exp(-0.5 * logsnr / rho) for logsnr in (max(noisiest, noisiest_logsnr), cleanest)]
    return schedule.logsnr_to_t(-2.0 * rho * torch.log(_linspace(*ends, calls + 1)[:-1]))


SPACINGS: dict[str, Callable[[Schedule, int, float], Tensor]] = {
    "uniform": _uniform,
    "logsnr": _uniform_logsnr,
    "karras": _karras,
    "consistency": _consistency,
}
STRIDES: dict[
    str, Callable[[Schedule, int, float], Tensor]
] = {  # of timesteps, as diffusers' timestep_spacing has them
    "leading": _leading,
    "linspace": _between,
    "trailing": _trailing,
}


def _linspace(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _last(schedule: DiscreteSchedule) -> int:
    return schedule.num_timesteps - 1


def _to_time(timesteps: Sequence[int], schedule: DiscreteSchedule) -> Tensor:
    return torch.tensor(timesteps, dtype=torch.float64) / _last(schedule)


def _latest(schedule: Schedule, noisiest_logsnr: float) -> float:
    """The largest time that is no noisier than asked; of a discrete schedule, a timestep's."""
    if math.isinf(noisiest_logsnr):
        return 1.0
    t = schedule.logsnr_to_t(torch.tensor(noisiest_logsnr, dtype=torch.float64)).item()
    return math.floor(t * _last(schedule) + 1e-9) / _last(schedule) if isinstance(schedule, DiscreteSchedule) else t


def _ends(schedule: Schedule, noisiest_logsnr: float) -> tuple[float, float]:
    """The logsnr of the first and the last call, within what the schedule reaches."""
    noisiest, cleanest = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    return max(NOISY_LOGSNR, noisiest_logsnr, noisiest), min(CLEAN_LOGSNR, cleanest)
