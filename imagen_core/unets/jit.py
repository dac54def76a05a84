"""Which network draws pixels in patches as large as words? (JiT, arXiv 2511.13720: "just image transformers".)

It predicts the clean picture, which lies on few dimensions, where noise does not: so a patch may have more numbers than
the transformer has channels.

Shapes: b batch, c h w a picture, l class tokens, m positions (the patches, after the l class tokens if they are there),
d width, n attention heads, k head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._base import UNetConfig
from .patch_transformer import PatchBlock, PatchHead, PatchTransformer, PatchTransformerConfig, grid_angles

EPS = 1e-6
Rotation = tuple[Tensor, Tensor]  # cosine and sine of each position's angles, each (m k/2)


@dataclass(frozen=True, kw_only=True)
class JiTConfig(PatchTransformerConfig):
    """Settings of `JiT`; the defaults are JiT-B/16's."""

    tiny: ClassVar[dict[str, Any]] = {
        "side": 16,
        "patch_size": 4,
        "width": 16,
        "mlp_width": 42,
        "depth": 2,
        "heads": 2,
        "num_classes": 5,
        "bottleneck": 6,
        "class_tokens": 3,
        "class_tokens_from": 1,
    }
    mlp_width: int = 2048  # two thirds of 4 * width, and gated
    bottleneck: int = 128  # channels that a patch is squeezed through on its way in
    class_tokens: int = 32  # tokens of the class that the patches attend to, in later blocks
    class_tokens_from: int = 4  # the first block, from 0, that sees them


class SwiGLU(nn.Module):
    """An MLP whose hidden layer is gated (arXiv 2002.05202): two thirds as wide, for as many weights."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_hidden = nn.Linear(width, 2 * hidden)  # both in one product
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, hidden = self.gate_hidden(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * hidden)


class JiTBlock(PatchBlock):
    """RMS norms (arXiv 1910.07467), also of queries and keys, which are then rotated by where they stand."""

    def __init__(self, config: JiTConfig) -> None:
        super().__init__(config.width, config.heads)
        self.in_norm, self.mlp_norm = (nn.RMSNorm(config.width, eps=EPS) for _ in range(2))
        self.query_norm, self.key_norm = (nn.RMSNorm(config.width // config.heads, eps=EPS) for _ in range(2))
        self.mlp = SwiGLU(config.width, config.mlp_width)

    def _place(self, queries: Tensor, keys: Tensor, place: Rotation) -> tuple[Tensor, Tensor]:
        return rotated(self.query_norm(queries), place), rotated(self.key_norm(keys), place)


class JiT(PatchTransformer):
    """network(x_t, time, told): noisy picture (b c h w), time (b,), 0 noise and 1 clean -> (b out_channels h w)."""

    name: ClassVar[str] = "jit"
    config_cls: ClassVar[type[UNetConfig]] = JiTConfig

    def __init__(self, config: JiTConfig) -> None:
        super().__init__(config)
        patch = config.patch_size
        self.squeeze = nn.Conv2d(config.in_channels, config.bottleneck, patch, stride=patch, bias=False)
        self.stem = nn.Linear(config.bottleneck, config.width)
        self.class_places = nn.Parameter(0.02 * torch.randn(config.class_tokens, config.width))
        self.blocks = nn.ModuleList(JiTBlock(config) for _ in range(config.depth))
        self.head = PatchHead(nn.RMSNorm(config.width, eps=EPS), config)

    def _patches(self, x: Tensor) -> Tensor:
        return self.stem(self.squeeze(x).flatten(2).transpose(1, 2))  # b m d

    def _transform(self, x: Tensor, grid: tuple[int, int], embedding: Tensor, label: Tensor) -> Tensor:
        count, first = self.config.class_tokens, self.config.class_tokens_from
        for block in self.blocks[:first]:
            x = block(x, embedding, self._rotation(grid, 0, x))
        x = torch.cat([label[:, None] + self.class_places, x], dim=1)  # b l+m d
        for block in self.blocks[first:]:
            x = block(x, embedding, self._rotation(grid, count, x))
        return self.head(x[:, count:], embedding)

    def _rotation(self, grid: tuple[int, int], still: int, x: Tensor) -> Rotation:
        head = self.config.width // self.config.heads
        return grid_rotation(*grid, self.config.grid, still, head, x.dtype, x.device)


def rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """x (b n m k), each pair of neighbouring channels turned by its position's angle (RoPE, arXiv 2104.09864, Eq. 34)."""
    cos, sin = rotation
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)  # b n m k/2
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def grid_rotation(
    rows: int, columns: int, trained: int, still: int, head: int, dtype: torch.dtype, device: torch.device
) -> Rotation:
    """How far each position's pairs are turned: half of them by its row, half by its column, each (still+rows*columns k/2).

    The `still` tokens before the grid are not. A grid of other than `trained` positions a side is laid over that one.
    """
    angles = torch.cat(grid_angles(rows, columns, trained, head // 4), dim=1)
    angles = F.pad(angles, (0, 0, still, 0))
    return angles.cos().to(dtype).to(device), angles.sin().to(dtype).to(device)
