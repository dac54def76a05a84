"""What is the least that a thresholding is? What becomes of a predicted picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Thresholding


@dataclass(frozen=True, kw_only=True)
class ToyThresholding(Thresholding):
    """Clip at an edge.

    edge: where.
    """

    name: ClassVar[str] = "toy"
    edge: float = 1.0

    def __call__(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-self.edge, self.edge)
