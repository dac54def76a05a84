"""What does a consistency model put out? Where the path through x_t ends: Consistency Models (arXiv 2303.01469, Eq. 5).

EDM's preconditioning (arXiv 2206.00364, Table 1), changed so that at the least noise the picture is its own answer
(appendix C): x_0 = c_skip x + c_out F, of x = x_t / alpha = x_0 + sigma_ve eps. As trained by OpenAI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale
from ._base import PredictionType

SIGMA_DATA, SIGMA_MIN = 0.5, 0.002


@dataclass(frozen=True, kw_only=True)
class ConsistencyPrediction(PredictionType):
    """F. Its x_0 is no mean of all pictures that x_t may come from, but one of them."""

    name: ClassVar[str] = "consistency"
    jumps: ClassVar[bool] = True

    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        skip, out = scales(sigma / alpha)
        return (x_0 - skip * (x_0 + sigma / alpha * eps)) / out

    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        skip, out = scales(sigma / alpha)
        return skip * (x_t / alpha) + out * output


def scales(sigma_ve: Scale) -> tuple[Scale, Scale]:
    """(c_skip, c_out): (1, 0) at sigma_ve = 0.002, the least noise."""
    beyond = sigma_ve - SIGMA_MIN
    return (
        SIGMA_DATA**2 / (beyond**2 + SIGMA_DATA**2),
        beyond * SIGMA_DATA / (sigma_ve**2 + SIGMA_DATA**2) ** 0.5,
    )
