"""What is the least that a guidance is? What two predictions become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..predictor import Point
from ._base import Guidance


@dataclass(frozen=True, kw_only=True)
class ToyGuidance(Guidance):
    """x_0 = cond + share (scale - 1) (cond - null).

    scale: as in classifier-free guidance, 1 is off.
    start, end: the guided part of the way from noise to picture, as progress 1 - t.
    share: how much of the pull is taken.
    """

    name: ClassVar[str] = "toy"
    share: float = 0.5

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        return x_0["cond"] + self.share * (self.scale - 1.0) * (x_0["cond"] - x_0["null"])
