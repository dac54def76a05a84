"""What shape has a run in time? How far it is, the learning rate there, how long the average remembers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .options import TrainOptions
from .run_state import RunState

DECAYS = ("linear", "cosine")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The shape of a run in time."""

    warmup_steps: int = 100  # over which the rate rises from zero
    decay_start: float = 0.6  # fraction of the run after which the rate falls to zero
    decay: str = "linear"  # how it falls, one of DECAYS
    ema_half_life: float = 300.0  # steps
    save_minutes: float = 2.0  # between two saved states
    log_seconds: float = 15.0  # between two lines of the log

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise ValueError(f"unknown decay {self.decay!r}: expected one of {', '.join(DECAYS)}")


def progress_of(state: RunState, options: TrainOptions) -> float:
    """Fraction of the run done, in [0, 1]: of the clock or of the steps, whichever is nearer its end."""
    of_clock = state.seconds / (60 * options.minutes) if options.minutes else 0.0
    of_steps = state.step / options.max_steps if options.max_steps else 0.0
    return min(1.0, max(of_clock, of_steps))


def rate_factor(step: int, progress: float, config: LoopConfig) -> float:
    """Learning-rate factor in [0, 1]: linear warm-up, constant, then down to zero, straight or as half a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = min(1.0, (1.0 - progress) / max(1e-9, 1.0 - config.decay_start))
    return warm * (left if config.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


def ema_decay(step: int, half_life: float) -> float:
    """Weight that the average keeps at `step` (from 0); early on it averages few steps."""
    return min(0.5 ** (1.0 / half_life), (1 + step) / (10 + step))
