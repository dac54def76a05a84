"""What is the least that a prediction type is? A way there and a way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType


@dataclass(frozen=True, kw_only=True)
class ToyPrediction(PredictionType):
    """Half of the clean picture."""

    name: ClassVar[str] = "toy"

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return 0.5 * x_0

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return 2.0 * output
