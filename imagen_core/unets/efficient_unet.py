"""Which network enlarges a picture? (Imagen, arXiv 2205.11487, Efficient U-Net: section 2.4, appendices B.1, F.2, F.3.)

Against ADM's U-Net it halves the picture before a level's blocks and doubles it after them, puts the blocks at the
coarse levels, and scales skips by 1/sqrt(2).

Shapes: b batch, c h w a feature map, p patch_size, e time embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from ._base import UNetConfig
from .attention import Attention, zeroed
from .blocks import PatchedUNet, ResBlock, conv3, embeddings_of, keep_skip, points_of, silu
from .embeddings import ScalarEmbedding
from .group_norm import group_norm

SKIP_SCALE = 1 / math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class EfficientUNetConfig(UNetConfig):
    """Settings of `EfficientUNet`; the defaults are the paper's 64 -> 256 model (F.2). One entry a level, finest first."""

    tiny: ClassVar[dict[str, Any]] = {
        "channels": (8, 16),
        "num_res_blocks": (1, 1),
        "strides": (2, 2),
        "self_attention": (False, True),
        "text_cross_attention": (False, True),
        "num_heads": 2,
    }
    channels: tuple[int, ...] = (128, 256, 512, 1024)  # width of each level
    num_res_blocks: tuple[int, ...] = (2, 4, 8, 8)  # of each level, on either way
    strides: tuple[int, ...] = (2, 2, 2, 2)  # by how much a level shrinks its input: 1 or 2
    self_attention: tuple[bool, ...] = (False, False, False, True)  # with the next, text joins its keys and values
    text_cross_attention: tuple[bool, ...] = (False, False, False, True)  # alone it is plain cross-attention (F.3)
    num_heads: int = 8  # of every attention
    attention_width: float = 2.0  # of queries, keys and values, in multiples of the level's channels
    time_embed_dim: int | None = None  # 4 * channels[0]
    low_res_conditioning: bool = True  # told.pixels (b c h w) joins x_t, told.aug_level (b,) in [0,1] the time
    # The output is added to told.pixels (as given, so with its augmentation noise), which lets a small network that
    # predicts x_0 start from the upsampled picture.
    predict_residual: bool = False
    # From this aug_level on the output is added to a blurred low_res instead, in proportion below it (0: never). A stem
    # that packs many pixels into few channels cannot subtract noise pixel by pixel, so without it grain stays.
    residual_smoothing: float = 0.0
    stem_skip: bool = False  # the head also sees the stem's features, at full resolution

    def __post_init__(self) -> None:
        for name in ("num_res_blocks", "strides", "self_attention", "text_cross_attention"):
            entries, levels = len(getattr(self, name)), len(self.channels)
            if entries != levels:
                raise ValueError(f"{name} has {entries} entries, channels {levels}: give one a level")
        if set(self.strides) - {1, 2}:
            raise ValueError(f"strides {self.strides} must be 1 or 2")
        if any(self.text_cross_attention) and self.text_embed_dim is None:
            raise ValueError("text_cross_attention needs text_embed_dim: set it, or switch text_cross_attention off")
        if self.predict_residual and not self.low_res_conditioning:
            raise ValueError("predict_residual adds to the low-res picture: it needs low_res_conditioning")
        if self.residual_smoothing and not self.predict_residual:
            raise ValueError("residual_smoothing is about what predict_residual adds to: switch predict_residual on")
        if not 0 <= self.residual_smoothing <= 1:
            raise ValueError(f"residual_smoothing is an aug_level in [0, 1], got {self.residual_smoothing}")

    @property
    def inputs(self) -> tuple[str, ...]:
        return super().inputs + (("low_res", "aug_level") if self.low_res_conditioning else ())

    @property
    def embed_dim(self) -> int:
        return self.time_embed_dim or 4 * self.channels[0]


def blurred(x: Tensor) -> Tensor:
    """(b c h w) under a tent seven pixels wide, edges repeated: white noise keeps a sixth of its amplitude."""
    x = F.pad(x, (3, 3, 3, 3), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, 4, stride=1), 4, stride=1)  # two boxes of four are the tent; never in bfloat16


class Level(nn.Module):
    """One DBlock or UBlock: residual blocks and attention, after shrinking (down) or before growing (up)."""

    def __init__(
        self, blocks: list[ResBlock], attention: Attention | None, *, first: nn.Module, last: nn.Module
    ) -> None:
        super().__init__()
        self.first = first
        self.blocks = nn.ModuleList(blocks)
        self.attention = attention
        self.last = last

    def forward(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, block.modulation(embedding))
        if self.attention is not None:
            x = self.attention(x, told)
        return self.last(x)


class EfficientUNet(PatchedUNet):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "efficient"
    config_cls: ClassVar[type[UNetConfig]] = EfficientUNetConfig
    stem_point: ClassVar[str] = "stem"

    def __init__(self, config: EfficientUNetConfig) -> None:
        super().__init__(**embeddings_of(config, config.channels[0], config.embed_dim))
        self.config = config
        self.multiple = config.patch_size * math.prod(config.strides)
        self.aug_embedding = (
            ScalarEmbedding(config.channels[0], config.embed_dim) if config.low_res_conditioning else None
        )
        self._texts = 0
        patch = config.patch_size**2
        inputs = config.in_channels * (2 if config.low_res_conditioning else 1)
        widths = config.channels
        levels = range(len(widths))

        self.stem = conv3(inputs * patch, widths[0])
        self.down = nn.ModuleList([self._down_level(level) for level in levels])
        self.up = nn.ModuleList([self._up_level(level) for level in reversed(levels)])
        head_width = widths[0] * (2 if config.stem_skip else 1)
        self.head_norm = group_norm(head_width)
        self.head = zeroed(conv3(head_width, config.out_channels * patch))

    def _attention(self, level: int) -> Attention | None:
        config = self.config
        reads_text = config.text_cross_attention[level]
        if not (config.self_attention[level] or reads_text):
            return None
        index = self._texts
        self._texts += reads_text
        return Attention(
            config.channels[level],
            heads=config.num_heads,
            inner=round(config.attention_width * config.channels[level]),
            text_dim=config.text_embed_dim if reads_text else None,
            text_index=index,
            to_self=config.self_attention[level],
        )

    def _blocks(self, level: int, c_in: int) -> list[ResBlock]:
        width, embed_dim = self.config.channels[level], self.config.embed_dim
        count = self.config.num_res_blocks[level]
        return [ResBlock(c_in if i == 0 else width, width, embed_dim) for i in range(count)]

    def _down_level(self, level: int) -> Level:
        widths = self.config.channels
        shrink = conv3(widths[max(level - 1, 0)], widths[level], stride=self.config.strides[level])
        return Level(self._blocks(level, widths[level]), self._attention(level), first=shrink, last=nn.Identity())

    def _up_level(self, level: int) -> Level:
        """The coarsest level's own output is its input; every other one takes the skip of its DBlock."""
        widths, stride = self.config.channels, self.config.strides[level]
        width, finer = widths[level], widths[max(level - 1, 0)]
        c_in = width if level == len(widths) - 1 else 2 * width
        grow: nn.Module = conv3(width, finer)
        if stride > 1:
            grow = nn.Sequential(nn.Upsample(scale_factor=float(stride), mode="nearest"), grow)
        return Level(self._blocks(level, c_in), self._attention(level), first=nn.Identity(), last=grow)

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any h and w; time (b,); returns (b out_channels h w)."""
        out = self._run_patched(*self._entering(x_t, time, told), told)
        if not self.config.predict_residual:
            return out
        return self._add_residual(out, self._residual_base(self._low_res(x_t, told), told.aug_level))

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        embedding = self._embed(time, told)
        if self.aug_embedding is None:
            return x_t, embedding
        low_res = self._low_res(x_t, told)
        return torch.cat([x_t, low_res], dim=1), embedding + self.aug_embedding(1000.0 * self._aug_level(told))

    def _residual_base(self, low_res: Tensor, aug_level: Tensor) -> Tensor:
        """What the output is added to: low_res (b c h w), the more blurred the more noise it carries."""
        if not self.config.residual_smoothing:
            return low_res
        share = (aug_level / self.config.residual_smoothing).clamp(0, 1).to(low_res.dtype)[:, None, None, None]
        return torch.lerp(low_res, blurred(low_res), share)

    def _add_residual(self, out: Tensor, low_res: Tensor) -> Tensor:
        """Only the picture channels are a residual; a learned variance behind them is not."""
        c = low_res.shape[1]
        return out + low_res if out.shape[1] == c else torch.cat([out[:, :c] + low_res, out[:, c:]], dim=1)

    def _down(self, x: Tensor, embedding: Tensor, told: Signals) -> tuple[list[Tensor], Tensor]:
        """The levels' outputs but the coarsest, which is what the way up starts from, and that one."""
        skips: list[Tensor] = []
        for level in self.down:
            x = keep_skip(level(x, embedding, told), skips, told)
        return skips[:-1], told.added("middle", x)

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        return points_of(*self._down(told.added("stem", self.stem(x)), embedding, told))

    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        stem = told.added("stem", self.stem(x))
        skips, x = self._down(stem, embedding, told)
        for index, level in enumerate(self.up):
            if index:
                x = torch.cat([x, SKIP_SCALE * skips.pop()], dim=1)
            x = level(x, embedding, told)
        if self.config.stem_skip:
            x = torch.cat([x, SKIP_SCALE * stem], dim=1)
        return self.head(silu(self.head_norm(x)))
