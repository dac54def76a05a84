"""What is a guidance? Which predictions of x_0 it needs, how they become one, and when that is worth it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..predictor import Point
from ..progress import check_interval, in_interval


@dataclass(frozen=True, kw_only=True)
class Guidance(ABC):
    """A frozen dataclass of settings. What must be remembered between calls lives in what `start_run` returns.

    asks: the branches it needs besides "cond": "null" is without the prompt, others are named by who answers them.
    off: the scale at which, and below which, it changes nothing.
    """

    name: ClassVar[str]
    asks: ClassVar[tuple[str, ...]] = ("null",)
    off: ClassVar[float] = 1.0
    scale: float = 5.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_interval(self.start, self.end)

    def active(self, t: float) -> bool:
        """Whether it changes anything at time `t` (1 pure noise, 0 clean); elsewhere its branches are not run."""
        return self.scale > self.off and in_interval(1.0 - t, self.start, self.end)

    def start_run(self) -> Any:
        """The memory of one sampling run, handed to each `combine`; None for a guidance without one."""
        return None

    @abstractmethod
    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        """The guided x_0 from the predictions (b c h w) by branch; called only where `active`."""

    def shift(self, x_0: Tensor, at: Point) -> Tensor:
        """What becomes of the guided x_0 after thresholding, which would clip it: nothing, but for gradients."""
        return x_0

    @property
    def networks(self) -> tuple[Any, ...]:
        """What it asks itself, and the host has to bring to the device: a loaded `Clip` or `Classifier`, or nothing."""
        return ()

    @property
    def others(self) -> Mapping[str, Any]:
        """The stages that answer branches other than cond and null, by the branch's name."""
        return {}
