"""Which network tells the class of a noisy picture? (ADM, arXiv 2105.05233, section 4: the way down of its own U-Net.)

Shapes: b batch, c h w a feature map, m positions (h*w), n attention heads, k head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from ..unets.adm import ADM, ADMConfig
from ..unets.attention import head_count, split_heads
from ..unets.group_norm import group_norm


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Settings of `NoisyClassifier`."""

    adm: ADMConfig  # of the network whose way down it is
    num_classes: int  # that it tells apart
    image_size: int  # side of the pictures that it was trained on, and of no others

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.grid < 1 or self.grid * self.shrinks != self.image_size:
            raise ValueError(f"image_size {self.image_size} is no multiple of {self.shrinks}, or there is no class")

    @property
    def shrinks(self) -> int:
        """Pixels a side of one position at the end."""
        return 2 ** (len(self.adm.channels) - 1)

    @property
    def grid(self) -> int:
        """Positions a side at the end."""
        return self.image_size // self.shrinks


class AttentionPooling(nn.Module):
    """(b c h w) -> (b num_classes): the mean of all positions asks, it and they answer (CLIP, arXiv 2103.00020)."""

    def __init__(self, channels: int, grid: int, heads: int, num_classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Parameter(torch.randn(1 + grid**2, channels) / channels**0.5)  # of the mean, then of each
        self.query = nn.Linear(channels, 3 * channels)  # queries, keys and values in one product
        self.out = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).mT  # b m c
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.position  # b 1+m c
        queries, keys, values = split_heads(self.query(tokens), 3, self.heads)  # b n 1+m k
        return self.out(F.scaled_dot_product_attention(queries[:, :, :1], keys, values).flatten(1))


class NoisyClassifier(ADM):
    """network(x_t, timestep): noisy picture (b 3 h w), timestep (b,) in 0..999 -> logits (b num_classes)."""

    name: ClassVar[str] = "noisy_classifier"
    way_up: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        channels = self.flags.channels[-1]
        self.head_norm = group_norm(channels, self.flags.norm_groups)
        heads = head_count(channels, self.flags.per_head_channels)
        self.head = AttentionPooling(channels, config.grid, heads, config.num_classes)

    def _make_up(self, skips: list[int]) -> nn.ModuleList:
        return nn.ModuleList()

    def forward(self, x_t: Tensor, time: Tensor, told: Signals | None = None) -> Tensor:
        """Differentiable in x_t (b 3 h w), in [-1, 1] where clean. ValueError for a picture of another size."""
        side = self.config.image_size
        if x_t.shape[-2:] != (side, side):
            size = f"{x_t.shape[-1]}x{x_t.shape[-2]}"
            raise ValueError(f"this classifier was trained on pictures of {side}x{side}, and sees one of {size}")
        x, embedding = self._entering(x_t, time, told or Signals())
        _, x = self._down(x, self._modulations(self.activation(embedding)), told or Signals())
        return self.head(self.activation(self.head_norm(x)))
