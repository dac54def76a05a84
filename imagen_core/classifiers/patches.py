"""Which small network tells the class of a noisy picture? Patches under a transformer, told the noise beside them.

What the way down of ADM's U-Net is for (arXiv 2105.05233, section 4), at a price that a CPU can train: CLIP's vision
tower (arXiv 2103.00020) with the timestep added to every token.

Shapes: b batch, l tokens, d width, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..clip.config import VisionConfig
from ..clip.network import Layers, Patches
from ..conditioning import Signals
from ..unets.embeddings import ScalarEmbedding

MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class PatchClassifierConfig:
    """Settings of `PatchClassifier`."""

    vision: VisionConfig  # the tower's
    num_classes: int  # that it tells apart

    def __post_init__(self) -> None:
        if type(self.num_classes) is not int or not 1 <= self.num_classes <= MOST_CLASSES:
            raise ValueError(f"num_classes is {self.num_classes!r}: expected 1 to {MOST_CLASSES}")

    @property
    def image_size(self) -> int:
        """Side of the pictures that it was trained on, and of no others."""
        return self.vision.side


class PatchClassifier(nn.Module):
    """network(x_t, timestep): noisy picture (b 3 h w), timestep (b,) in 0..999 -> logits (b num_classes)."""

    name: ClassVar[str] = "patch_classifier"

    def __init__(self, config: PatchClassifierConfig) -> None:
        super().__init__()
        self.config = config
        width, epsilon = config.vision.width, config.vision.epsilon
        self.patches, self.layers = Patches(config.vision), Layers(config.vision, causal=False)
        self.time = ScalarEmbedding(width, width)
        self.norm_in, self.norm_out = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        self.head = nn.Linear(width, config.num_classes)

    def forward(self, x_t: Tensor, time: Tensor, told: Signals | None = None) -> Tensor:
        """Differentiable in x_t (b 3 h w), in [-1, 1] where clean. ValueError for a picture of another size."""
        side = self.config.image_size
        if x_t.shape[-2:] != (side, side):
            size = f"{x_t.shape[-1]}x{x_t.shape[-2]}"
            raise ValueError(f"this classifier was trained on pictures of {side}x{side}, and sees one of {size}")
        x = self.norm_in(self.patches(x_t) + self.time(time)[:, None].to(x_t.dtype))  # b l d
        return self.head(self.norm_out(self.layers(x)[0][:, 0]))


def fresh_classifier(config: PatchClassifierConfig) -> PatchClassifier:
    """Random weights: as torch makes layers, tables and the class token with a deviation of .02."""
    network = PatchClassifier(config)
    nn.init.normal_(network.patches.position_embedding.weight, std=0.02)
    with torch.no_grad():
        network.patches.class_embedding.normal_(std=0.02)
    return network
