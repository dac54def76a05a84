"""What is the least that a space is? What it is shaped like, and what becomes of it at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..thresholding import Thresholding
from ..thresholding.none import NoThresholding
from ._base import Space


@dataclass(frozen=True, kw_only=True)
class ToySpace(Space):
    """Pictures at a half of their size.

    bound: what is handed out is cut to it.
    """

    name: ClassVar[str] = "toy"
    bound: float = 1.0

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height // 2, width // 2

    def finish(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-self.bound, self.bound).float().cpu()

    def preview(self, x_0: Tensor) -> Tensor:
        return x_0

    def thresholding(self) -> Thresholding:
        return NoThresholding()
