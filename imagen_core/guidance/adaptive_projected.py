"""What is adaptive projected guidance? Guidance less what only raises contrast: arXiv 2410.02416, Algorithm 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..predictor import Point
from ._base import Guidance


@dataclass
class Momentum:
    """The running sum of update directions of one sampling run; None before its first call."""

    total: Tensor | None = None

    def add(self, update: Tensor, momentum: float) -> Tensor:
        self.total = update if self.total is None else update + momentum * self.total
        return self.total


@dataclass(frozen=True, kw_only=True)
class AdaptiveProjectedGuidance(Guidance):
    """x_0 = cond + (scale - 1) (u_orthogonal + eta u_parallel), u = cond - null split along cond, image by image.

    scale: as in classifier-free guidance, 1 is off; bears larger values (5 to 15) without over-saturation.
    eta: how much is kept of the part along cond, which mostly raises saturation. 0 drops it, 1 is plain guidance.
    norm_threshold: longest allowed u, as an L2 norm over a whole image, or 0 for no limit. It grows with the number
        of pixels: for 3 x 64 x 64 try 5 to 15.
    momentum: share of earlier u added to this one; -0.5 pushes away from them, 0 is off.
    start, end: the guided part of the way from noise to picture, as progress 1 - t: 0 is pure noise, 1 clean.
    """

    name: ClassVar[str] = "apg"
    eta: float = 0.0
    norm_threshold: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm_threshold < 0.0:
            raise ValueError(f"norm_threshold {self.norm_threshold} is negative: use 0 for no limit")
        if not -1.0 < self.momentum < 1.0:
            raise ValueError(f"momentum {self.momentum} is outside (-1, 1): 0 is off, -0.5 is the paper's")

    def start_run(self) -> Momentum:
        return Momentum()

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Momentum | None = None) -> Tensor:
        cond = x_0["cond"]
        update = cond - x_0["null"]
        if self.momentum != 0.0 and memory is not None:
            update = memory.add(update, self.momentum)
        if self.norm_threshold > 0.0:
            update = update * (self.norm_threshold / _norm(update)).clamp(max=1.0)
        parallel = _along(update, cond)
        return cond + (self.scale - 1.0) * (update + (self.eta - 1.0) * parallel)


def _norm(x: Tensor) -> Tensor:
    """L2 norm an image: (b 1 1 1)."""
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)


def _along(update: Tensor, direction: Tensor) -> Tensor:
    """The projection of `update` on `direction`, image by image; 0 where the direction is 0."""
    unit = direction / _norm(direction).clamp(min=torch.finfo(direction.dtype).tiny)
    return (update * unit).sum(dim=tuple(range(1, unit.ndim)), keepdim=True) * unit
