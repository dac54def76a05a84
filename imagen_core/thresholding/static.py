"""What is static thresholding? Clipping x_0 to [-1, 1] (Imagen, section 2.3 and Fig. A.10a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Thresholding


@dataclass(frozen=True, kw_only=True)
class StaticThresholding(Thresholding):
    """clip(x_0, -1, 1): the least that strong guidance needs; large weights still drive pixels to the ends."""

    name: ClassVar[str] = "static"

    def __call__(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-1.0, 1.0)
