"""What is a guidance? How the conditional and the unconditional prediction of x_0 combine, and when it is worth it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor


class Guidance(ABC):
    """A frozen dataclass of settings. What must be remembered between calls lives in what `start_run` returns."""

    name: ClassVar[str]

    @abstractmethod
    def active(self, t: float) -> bool:
        """Whether the unconditional prediction is needed at time `t` (1 pure noise, 0 clean)."""

    def start_run(self) -> Any:
        """The memory of one sampling run, handed to each `combine`; None for a guidance without one."""
        return None

    @abstractmethod
    def combine(self, cond_x_0: Tensor, null_x_0: Tensor, *, memory: Any = None) -> Tensor:
        """The guided x_0 from the two predictions (b c h w) float32; called only where `active`."""


def check_interval(start: float, end: float) -> None:
    """Raise ValueError unless 0 <= start <= end <= 1."""
    if not 0.0 <= start <= end <= 1.0:
        raise ValueError(f"guidance from {start} to {end}: expected 0 <= start <= end <= 1, 0 being pure noise")


def in_interval(t: float, start: float, end: float) -> bool:
    """Whether progress 1 - t lies in [start, end]; a hair of tolerance keeps the ends in despite rounding."""
    return start - 1e-6 <= 1.0 - t <= end + 1e-6
