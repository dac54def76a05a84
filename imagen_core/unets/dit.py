"""Which network is a plain transformer on patches of latents? (DiT, arXiv 2212.09748, with adaLN-Zero blocks.)

Shapes: b batch, c h w latents, m positions, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ._base import UNetConfig
from .patch_transformer import PatchBlock, PatchHead, PatchTransformer, PatchTransformerConfig

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class DiTConfig(PatchTransformerConfig):
    """Settings of `DiT`; the defaults are DiT-XL/2's at 256 pixels, which are latents of 32."""

    tiny: ClassVar[dict[str, Any]] = {"side": 8, "width": 16, "mlp_width": 64, "depth": 2, "heads": 2, "num_classes": 5}
    in_channels: int = 4  # of a latent
    out_channels: int = 8  # eps, and a learned variance
    side: int = 32
    patch_size: int = 2  # the "/2" of its name
    width: int = 1152  # of a patch inside
    mlp_width: int = 4608  # inside of a block's feed-forward layer
    depth: int = 28  # blocks
    heads: int = 16  # of every attention


class DiTBlock(PatchBlock):
    """Layer norms without weights of their own, and an MLP of one hidden layer."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config.width, config.heads)
        self.in_norm, self.mlp_norm = (_norm(config.width) for _ in range(2))
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.mlp_width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.mlp_width, config.width),
        )


class DiT(PatchTransformer):
    """network(x_t, time, told): noisy latents (b c h w), time (b,) in 0..999 -> (b out_channels h w)."""

    name: ClassVar[str] = "dit"
    config_cls: ClassVar[type[UNetConfig]] = DiTConfig

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        self.stem = nn.Conv2d(config.in_channels, config.width, config.patch_size, stride=config.patch_size)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.head = PatchHead(_norm(config.width), config)

    def _patches(self, x: Tensor) -> Tensor:
        return self.stem(x).flatten(2).transpose(1, 2)  # b m d

    def _transform(self, x: Tensor, grid: tuple[int, int], embedding: Tensor, label: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        return self.head(x, embedding)


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=EPS, elementwise_affine=False)
