"""What does a network predict that was trained to flow? Where x_t is heading: Rectified Flow (arXiv 2209.03003, Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType


@dataclass(frozen=True, kw_only=True)
class FlowPrediction(PredictionType):
    """The velocity eps - x_0 of (1 - s) x_0 + s eps from picture to noise, which is x_t / (alpha + sigma)."""

    name: ClassVar[str] = "flow"

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return eps - x_0

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return (x_t - sigma * output) / (alpha + sigma)
