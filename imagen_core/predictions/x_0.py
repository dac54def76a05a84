"""What does a network predict that predicts x_0? The clean picture itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType


@dataclass(frozen=True, kw_only=True)
class X0Prediction(PredictionType):
    """The clean picture; the error of eps is that of x_0 times alpha / sigma."""

    name: ClassVar[str] = "x_0"

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return x_0

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return output
