"""What is the least that a U-Net is? One block, one attention, one skip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..conditioning import Signals
from ._base import UNetConfig
from .attention import Attention, zeroed
from .blocks import PatchedUNet, ResBlock, conv3, embeddings_of, keep_skip, silu
from .group_norm import group_norm


@dataclass(frozen=True, kw_only=True)
class ToyConfig(UNetConfig):
    """Settings of `ToyUNet`, small as they are."""

    width: int = 8


class ToyUNet(PatchedUNet):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "toy"
    config_cls: ClassVar[type[UNetConfig]] = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        width, patch = config.width, config.patch_size**2
        super().__init__(**embeddings_of(config, width, width))
        self.config, self.multiple = config, config.patch_size
        self.stem = conv3(config.in_channels * patch, width)
        self.block = ResBlock(width, width, width)
        self.attention = Attention(width, heads=2, inner=width, text_dim=config.text_embed_dim, text_index=0)
        self.head_norm = group_norm(2 * width)
        self.head = zeroed(conv3(2 * width, config.out_channels * patch))

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        return self._run_patched(*self._entering(x_t, time, told), told)

    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        skips: list[Tensor] = []
        x = keep_skip(self.stem(x), skips, told)
        x = told.added("middle", self.attention(self.block(x, self.block.modulation(embedding)), told))
        return self.head(silu(self.head_norm(torch.cat([x, skips.pop()], dim=1))))
