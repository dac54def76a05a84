"""How does anything that tells how likely a noisy picture is guide a network? By its gradient, a term of the score.

ADM's classifier guidance (arXiv 2105.05233, Algorithm 2) and GLIDE's CLIP guidance (arXiv 2112.10741, section 2.3) in
terms of x_0: as eps = -sigma score, adding scale grad log p to the score adds scale sigma^2 / alpha grad log p to x_0.
It is added after thresholding, as published, or thresholding would clip it away.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..predictor import Point
from ._base import Guidance


@dataclass(frozen=True, kw_only=True)
class ByGradient(Guidance):
    """A guidance that changes x_0 after thresholding alone; 0 is off."""

    asks: ClassVar[tuple[str, ...]] = ()
    off: ClassVar[float] = 0.0
    scale: float = 1.0

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        return x_0["cond"]


@dataclass(frozen=True, kw_only=True)
class GradientGuidance(ByGradient):
    """x_0 += scale sigma^2 / alpha grad log p(y | x_t). A subclass says what p is; 1 is the exact conditional."""

    @abstractmethod
    def log_probability(self, at: Point) -> Tensor:
        """log p(y | x_t) of each image by itself, (b,), differentiable in at.x_t (see `thawed` for weights)."""

    def shift(self, x_0: Tensor, at: Point) -> Tensor:
        return x_0 + self.scale * noisy_pull(self.log_probability, at)


@dataclass(frozen=True, kw_only=True)
class CleanGuidance(ByGradient):
    """x_0 += scale sigma^2 grad log p(y | x_0): of what understands clean pictures only, and is shown the predicted one.

    The chain rule asks for d x_0 / d x_t, a pass backwards through the network. Of Gaussian data of unit variance it is
    alpha (what is not known of x_0 has then variance sigma^2: r_t^2 of Song et al., Pseudoinverse-Guided Diffusion, ICLR
    2023), and sigma^2 / alpha times that is what stands here: exact for such data, and bounded at every t.
    """

    @abstractmethod
    def log_probability_clean(self, x_0: Tensor) -> Tensor:
        """log p(y | x_0) of each image (b c h w) in [-1, 1] by itself, (b,), differentiable (see `thawed`)."""

    def shift(self, x_0: Tensor, at: Point) -> Tensor:
        return x_0 + self.scale * clean_pull(self.log_probability_clean, x_0, at)


def noisy_pull(log_probability: Callable[[Point], Tensor], at: Point) -> Tensor:
    """sigma^2 / alpha grad log p(y | x_t), (b c h w): what x_0 moves by at scale 1."""

    def of(x_t: Tensor) -> Tensor:
        point = {each.name: _plain(getattr(at, each.name)) for each in dataclasses.fields(at)}
        return log_probability(Point(**{**point, "x_t": x_t}))

    return at.sigma**2 / at.alpha * gradient(of, at.x_t)


def clean_pull(log_probability: Callable[[Tensor], Tensor], x_0: Tensor, at: Point) -> Tensor:
    """sigma^2 grad log p(y | x_0), (b c h w): the same of what knows clean pictures only, see `CleanGuidance`."""
    return at.sigma**2 * gradient(log_probability, x_0)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d function(x) / dx, of a function whose value (b,) is each image's own.

    Hosts run nodes in inference mode, whose tensors autograd refuses; a copy made outside of it is a plain one.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(function(x).sum(), x)  # images do not see each other: the sum's is each one's
    return found


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
