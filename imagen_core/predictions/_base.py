"""What is a prediction type? What a network is trained to put out, and how x_0 is read from it.

With x_t = alpha x_0 + sigma eps, alpha^2 + sigma^2 = 1. `alpha`, `sigma` are floats or tensors that broadcast against
the pictures, b c h w or any other axes behind the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from ..parameterization import Scale


class PredictionType(ABC):
    """A frozen dataclass, of no settings so far, with the way there and the way back."""

    name: ClassVar[str]
    jumps: ClassVar[bool] = False  # whether x_0 is where a path ends, as of consistency models, and not a mean

    @abstractmethod
    def target(self, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """What the network should put out, given the clean picture and the noise put on it."""

    @abstractmethod
    def to_x_0(self, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """What the network put out of x_t, as x_0."""
