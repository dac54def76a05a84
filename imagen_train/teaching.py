"""How does a network that only ever sees noise learn early what things are? From a classifier that sees them clean.

Representation alignment (REPA, arXiv 2410.06940): tokens in the middle of the denoiser are projected to the feature map
that a frozen teacher has of the clean picture. The teacher is not the judge of the figures: other weights, other seed.

Shapes: b pictures, m positions of the transformer, d width of its tokens, f the teacher's channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .classifier import Classifier


class Teaching(nn.Module):
    """The projection, learned with the denoiser; the teacher itself is no part of its weights."""

    def __init__(self, teacher: Classifier, width: int):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, teacher.channels[-1]))
        self._teacher = [teacher.requires_grad_(False).eval()]  # in a list: neither saved nor moved as our own weights
        self._heard: Tensor | None = None

    @contextmanager
    def listening(self, block: nn.Module) -> Iterator[None]:
        """Remember what `block` puts out, tokens (b m d)."""

        def hear(module: nn.Module, args: tuple, output: Tensor) -> None:
            self._heard = output

        handle = block.register_forward_hook(hear)
        try:
            yield
        finally:
            handle.remove()

    def distance(self, x_0: Tensor) -> Tensor:
        """One minus the mean cosine between projected tokens and the teacher's map of x_0 (b 3 h w)."""
        teacher = self._teacher[0].to(x_0.device)
        with torch.no_grad():
            seen = teacher.late[:-1](teacher.early(x_0)).flatten(2).mT  # b m f; before the silu, so around zero
        projected = self.project(self._heard)  # b m f
        return 1 - F.cosine_similarity(projected.float(), seen.float(), dim=-1).mean()
