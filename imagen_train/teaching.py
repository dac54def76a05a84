"""How does a network that only ever sees noise learn early what things are? From a classifier that sees them clean.

Representation alignment (REPA, arXiv 2410.06940): tokens in the middle of the denoiser are projected to the feature map
that a frozen teacher has of the clean picture. The teacher is not the judge of the figures: other weights, other seed.

Shapes: b pictures, m positions of the denoiser's tokens, d their width, h w of its feature map, f the teacher's channels.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .classifier import Classifier
from .listening import listening


class Teaching(nn.Module):
    """The projection, learned with the denoiser; the teacher itself is no part of its weights."""

    def __init__(self, teacher: Classifier, width: int):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, teacher.channels[-1]))
        self._teacher = [teacher.requires_grad_(False).eval()]  # in a list: neither saved nor moved as our own weights
        self._heard: Tensor | None = None

    def listening(self, block: nn.Module) -> AbstractContextManager[None]:
        """Remember what `block` puts out: tokens (b m d) of a square, or a feature map (b d h w)."""

        def hear(given: tuple[Tensor, ...], output: Tensor) -> None:
            self._heard = output

        return listening(block, hear)

    def distance(self, x_0: Tensor) -> Tensor:
        """One minus the mean cosine between projected positions and the teacher's map of the picture x_0 (b 3 H W)."""
        teacher = self._teacher[0].to(x_0.device)
        with torch.no_grad():
            seen = teacher.late[:-1](teacher.early(x_0))  # b f h' w'; before the silu, so around zero
        tokens, sides = positions(self._heard)
        if seen.shape[-2:] != sides:
            seen = F.interpolate(seen, sides, mode="bilinear", antialias=True)
        seen = seen.flatten(2).mT  # b m f
        projected = self.project(tokens)  # b m f
        return 1 - F.cosine_similarity(projected.float(), seen.float(), dim=-1).mean()


def positions(heard: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Tokens (b m d) of a square or a feature map (b d h w) as tokens (b m d), and the sides h and w of what they cover."""
    if heard.ndim == 4:
        return heard.flatten(2).mT, tuple(heard.shape[-2:])
    side = math.isqrt(heard.shape[1])
    if side * side != heard.shape[1]:
        raise ValueError(f"{heard.shape[1]} tokens are no square: let teach_at name a module that has one a position")
    return heard, (side, side)
