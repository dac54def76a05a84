"""What does a network predict that predicts v? Progressive Distillation (arXiv 2202.00512, appendix D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType


@dataclass(frozen=True, kw_only=True)
class VPrediction(PredictionType):
    """v = alpha eps - sigma x_0: x_0 is well conditioned at every t."""

    name: ClassVar[str] = "v"

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return alpha * eps - sigma * x_0

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return alpha * x_t - sigma * output
