"""What does a network predict that predicts eps? The noise in x_t: DDPM (arXiv 2006.11239, Eq. 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType


@dataclass(frozen=True, kw_only=True)
class EpsPrediction(PredictionType):
    """The noise; the error of x_0 is that of eps times sigma / alpha, so large where there is little picture."""

    name: ClassVar[str] = "eps"

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return eps

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return (x_t - sigma * output) / alpha
