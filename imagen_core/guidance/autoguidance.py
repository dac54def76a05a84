"""What is autoguidance? Away from what a weaker network predicts under the same prompt: arXiv 2406.02507, Eq. 3.

A smaller or earlier network makes the same mistakes, only larger, so that extrapolating from it through the good one
removes them, and takes no variety as the null prompt's pull does. The two need not agree on schedule or prediction type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ..predictor import Point
from ._base import Guidance


@dataclass(frozen=True, kw_only=True)
class Autoguidance(Guidance):
    """x_0 = weak + scale (cond - weak).

    scale: 1 (or less) is off; the paper's best lie between 1.4 and 3.
    start, end: the part of the way from noise to picture that is guided, as progress 1 - t: 0 is pure noise, 1 clean.
    weak: the weaker stage, of the same role: it draws, or enlarges, as the stage that it guides.
    """

    name: ClassVar[str] = "autoguidance"
    asks: ClassVar[tuple[str, ...]] = ("weak",)
    scale: float = 2.0
    weak: Any = field(default=None, repr=False, compare=False)

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        return x_0["weak"].lerp(x_0["cond"], self.scale)

    @property
    def others(self) -> Mapping[str, Any]:
        return {} if self.weak is None else {"weak": self.weak}
