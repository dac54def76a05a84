"""How does anything that tells how likely a noisy picture is guide a network? By its gradient, a term of the score.

ADM's classifier guidance (arXiv 2105.05233, Algorithm 2) and GLIDE's CLIP guidance (arXiv 2112.10741, section 2.3) in
terms of x_0: as eps = -sigma score, adding scale grad log p to the score adds scale sigma^2 / alpha grad log p to x_0.
It is added after thresholding, as published, or thresholding would clip it away.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..predictor import Point
from ._base import Guidance


@dataclass(frozen=True, kw_only=True)
class GradientGuidance(Guidance):
    """x_0 += scale sigma^2 / alpha grad log p(y | x_t). A subclass says what p is; 0 is off, 1 the exact conditional."""

    asks: ClassVar[tuple[str, ...]] = ()
    off: ClassVar[float] = 0.0
    scale: float = 1.0

    @abstractmethod
    def log_probability(self, at: Point) -> Tensor:
        """log p(y | x_t) of each image by itself, (b,), differentiable in at.x_t (see `thawed` for weights)."""

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        return x_0["cond"]

    def shift(self, x_0: Tensor, at: Point) -> Tensor:
        return x_0 + self.scale * at.sigma**2 / at.alpha * self._gradient(at)

    def _gradient(self, at: Point) -> Tensor:
        # Hosts run nodes in inference mode, whose tensors autograd refuses; copies made outside of it are plain ones.
        with torch.inference_mode(False), torch.enable_grad():
            point = {each.name: _plain(getattr(at, each.name)) for each in dataclasses.fields(at)}
            x_t = point["x_t"].requires_grad_()
            # Images do not see each other, so that the gradient of the sum is each one's own.
            (gradient,) = torch.autograd.grad(self.log_probability(Point(**point)).sum(), x_t)
        return gradient


def _plain(value: Tensor | float) -> Tensor | float:
    return value.clone() if isinstance(value, Tensor) else value


def thawed(network: nn.Module) -> nn.Module:
    """The network, its weights fit to be differentiated through although a node loaded them in inference mode."""
    with torch.inference_mode(False):
        for module in network.modules():
            for name, weight in module.named_parameters(recurse=False):
                if weight.is_inference():
                    setattr(module, name, nn.Parameter(weight.clone(), requires_grad=False))
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_inference():
                    setattr(module, name, buffer.clone())
    return network
