"""What does no thresholding do? Leave x_0 as the network predicted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Thresholding


@dataclass(frozen=True, kw_only=True)
class NoThresholding(Thresholding):
    """x_0 unchanged: for latents and for measurements. Pictures saturate under strong guidance."""

    name: ClassVar[str] = "none"

    def __call__(self, x_0: Tensor) -> Tensor:
        return x_0
