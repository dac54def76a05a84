"""How far from noise (0) to picture (1) has a sampler come, and does something work there, and how strongly?"""

from __future__ import annotations

import math
from collections.abc import Callable

CURVES = ("constant", "linear", "cosine")
HALVINGS = 30  # of [0, 1]: finer than a float32 sigma can tell


def progress_at(sigma: float, progress_to_sigma: Callable[[float], float]) -> float:
    """The progress in [0, 1] at which a decreasing `progress_to_sigma` reaches `sigma`, by bisection.

    For models whose noise schedule is known only as a function: beyond its range the nearer end.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if float(progress_to_sigma(middle)) > sigma:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def check_interval(start: float, end: float) -> None:
    """Raise ValueError unless 0 <= start <= end <= 1."""
    if not 0.0 <= start <= end <= 1.0:
        raise ValueError(f"from {start} to {end}: expected 0 <= start <= end <= 1, 0 being pure noise")


def in_interval(progress: float, start: float, end: float) -> bool:
    """Whether something that works from `start` to `end` does so at `progress`: 1 - t, a percent of the schedule.

    The one definition for guidance, thresholding, and whatever else has a start and an end. A hair of tolerance keeps
    the ends in despite rounding.
    """
    return start - 1e-6 <= progress <= end + 1e-6


def strength_at(progress: float, start: float, end: float, curve: str = "constant") -> float:
    """How strongly something that works from `start` to `end` does so at `progress`: 1 to 0, and 0 outside.

    curve: "constant" is 1 all the way; "linear" and "cosine" fade from 1 at `start` to 0 at `end`. Raises ValueError
    for an interval that is none.
    """
    check_interval(start, end)
    if not in_interval(progress, start, end):
        return 0.0
    if curve == "constant" or start == end:
        return 1.0
    share = min(max((progress - start) / (end - start), 0.0), 1.0)
    return 1.0 - share if curve == "linear" else 0.5 + 0.5 * math.cos(math.pi * share)
