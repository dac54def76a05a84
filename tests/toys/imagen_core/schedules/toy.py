"""What is the least that a schedule is? A logsnr that falls evenly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Schedule


@dataclass(frozen=True, kw_only=True)
class ToySchedule(Schedule):
    """logsnr = range (1/2 - t).

    range: how far the logsnr falls, from half of it above zero to half of it below.
    """

    name: ClassVar[str] = "toy"
    range: float = 20.0

    def _logsnr(self, t: Tensor) -> Tensor:
        return self.range * (0.5 - t)

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        return 0.5 - logsnr / self.range
