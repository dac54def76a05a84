"""What is drawn in pixels? Pictures themselves (Imagen, section 2: no stage leaves pixel space)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..thresholding import Thresholding
from ..thresholding.dynamic import DynamicThresholding
from ._base import Space


@dataclass(frozen=True, kw_only=True)
class Pixels(Space):
    """Pictures in [-1, 1], thresholded as the paper does."""

    name: ClassVar[str] = "pixels"
    holds_pictures: ClassVar[bool] = True

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width

    def finish(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-1.0, 1.0).float().cpu()

    def preview(self, x_0: Tensor) -> Tensor:
        return x_0

    def thresholding(self) -> Thresholding:
        return DynamicThresholding()
