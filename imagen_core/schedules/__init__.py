"""Which noise schedules are there? One file each, found by discovery: `SCHEDULES` by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._discovery import discover, from_config, to_config
from ._base import Schedule

SCHEDULES: dict[str, type[Schedule]] = discover(__name__, __path__, Schedule)


def schedule_to_config(schedule: Schedule) -> dict[str, Any]:
    """A schedule as JSON-able settings, as checkpoints keep it: {"name": "cosine", "shift": 0.0, ...}."""
    return to_config(schedule)


def schedule_from_config(config: Mapping[str, Any]) -> Schedule:
    """The schedule that `schedule_to_config` wrote. Raises ValueError naming unknown or missing keys."""
    return from_config(SCHEDULES, config, kind="schedule")


__all__ = ["SCHEDULES", "Schedule", "schedule_from_config", "schedule_to_config"]
