"""Which network draws the 64x64 picture? (Imagen, arXiv 2205.11487, appendix F.1: ADM's U-Net with text in attention.)

Shapes: b batch, c h w a feature map, p patch_size, e time embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..conditioning import Signals
from ._base import UNetConfig
from .attention import head_count
from .blocks import Attention, PatchedUNet, ResBlock, conv3, group_norm, keep_skip, points_of, silu, zeroed


@dataclass(frozen=True, kw_only=True)
class BaseUNetConfig(UNetConfig):
    """Settings of `BaseUNet`; the defaults are the paper's 2B model.

    attention_resolutions: a level attends when the side of its feature map, for a picture of `image_size`, is listed.
    That side is image_size / patch_size / 2**level, so with patch_size 1 these are the paper's pixels; with a 4x4 stem
    a 64 px picture has levels of side 16, 8, 4. The middle block always attends.
    num_res_blocks: blocks a level on the way down, one number or one a level (the way up has one more, as in ADM).
    The others are explained at `UNetConfig`.
    """

    image_size: int = 64
    channels: int = 512
    channel_mult: tuple[float, ...] = (1, 2, 3, 4)
    num_res_blocks: int | tuple[int, ...] = 3
    attention_resolutions: tuple[int, ...] = (32, 16, 8)
    per_head_channels: int = 64
    time_embed_dim: int | None = None  # 4 * channels

    def __post_init__(self) -> None:
        if isinstance(self.num_res_blocks, tuple) and len(self.num_res_blocks) != len(self.channel_mult):
            raise ValueError(
                f"num_res_blocks {self.num_res_blocks} must name one number for each of the "
                f"{len(self.channel_mult)} levels of channel_mult, or be a single number."
            )
        unknown = set(self.attention_resolutions) - set(self.level_sides)
        if unknown:
            raise ValueError(
                f"attention_resolutions {sorted(unknown)} name no level: with image_size {self.image_size} and "
                f"patch_size {self.patch_size} the levels have sides {self.level_sides}."
            )

    @property
    def level_sides(self) -> tuple[int, ...]:
        """Side of every level's feature map for a picture of `image_size`."""
        return tuple(self.image_size // (self.patch_size * 2**level) for level in range(len(self.channel_mult)))

    @property
    def level_channels(self) -> tuple[int, ...]:
        return tuple(round(self.channels * mult) for mult in self.channel_mult)

    @property
    def level_blocks(self) -> tuple[int, ...]:
        blocks = self.num_res_blocks
        return blocks if isinstance(blocks, tuple) else (blocks,) * len(self.channel_mult)

    @property
    def embed_dim(self) -> int:
        return self.time_embed_dim or 4 * self.channels


class UNetCell(nn.Module):
    """A residual block, and attention after it where the level attends."""

    def __init__(self, block: ResBlock, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, told)


class BaseUNet(PatchedUNet):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "base"
    config_cls: ClassVar[type[UNetConfig]] = BaseUNetConfig

    def __init__(self, config: BaseUNetConfig) -> None:
        super().__init__(
            patch_size=config.patch_size,
            time_width=config.channels,
            embed_dim=config.embed_dim,
            text_dim=config.text_embed_dim,
            pooling_queries=config.pooling_queries,
        )
        self.config = config
        self.multiple = config.patch_size * 2 ** (len(config.channel_mult) - 1)
        self._attentions = 0
        widths = config.level_channels
        patch = config.patch_size**2

        self.stem = conv3(config.in_channels * patch, widths[0])
        self.down, skips = self._make_down()
        self.middle = nn.ModuleList([self._cell(widths[-1], widths[-1], attends=attends) for attends in (True, False)])
        self.up = self._make_up(skips)
        self.head_norm = group_norm(widths[0])
        self.head = zeroed(conv3(widths[0], config.out_channels * patch))

    def _cell(self, c_in: int, c_out: int, *, attends: bool = False, resample: str | None = None) -> UNetCell:
        config = self.config
        attention = None
        if attends:
            attention = Attention(
                c_out,
                heads=head_count(c_out, config.per_head_channels),
                inner=c_out,
                text_dim=config.text_embed_dim,
                text_index=self._attentions,
            )
            self._attentions += 1
        return UNetCell(ResBlock(c_in, c_out, config.embed_dim, resample=resample), attention)

    def _attends(self, level: int) -> bool:
        return self.config.level_sides[level] in self.config.attention_resolutions

    def _make_down(self) -> tuple[nn.ModuleList, list[int]]:
        """The way down, and the width of each skip it leaves (stem first)."""
        config = self.config
        cells: list[UNetCell] = []
        skips = [config.level_channels[0]]
        for level, (width, blocks) in enumerate(zip(config.level_channels, config.level_blocks, strict=True)):
            for _ in range(blocks):
                cells.append(self._cell(skips[-1], width, attends=self._attends(level)))
                skips.append(width)
            if level + 1 < len(config.level_channels):
                cells.append(self._cell(width, width, resample="down"))
                skips.append(width)
        return nn.ModuleList(cells), skips

    def _make_up(self, skips: list[int]) -> nn.ModuleList:
        """The way up: a block takes one skip, or (without a skip) doubles the side."""
        config = self.config
        skips = list(skips)
        cells: list[UNetCell] = []
        width = config.level_channels[-1]
        for level in reversed(range(len(config.level_channels))):
            for _ in range(config.level_blocks[level] + 1):
                cells.append(
                    self._cell(width + skips.pop(), config.level_channels[level], attends=self._attends(level))
                )
                width = config.level_channels[level]
            if level:
                cells.append(self._cell(width, width, resample="up"))
        assert not skips
        return nn.ModuleList(cells)

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any h and w; time (b,); returns (b out_channels h w)."""
        return self._run_patched(*self._entering(x_t, time, told), told)

    def _down(self, x: Tensor, embedding: Tensor, told: Signals) -> tuple[list[Tensor], Tensor]:
        """The skips, and what leaves the middle."""
        skips: list[Tensor] = []
        x = keep_skip(self.stem(x), skips, told)
        for cell in self.down:
            x = keep_skip(cell(x, embedding, told), skips, told)
        for cell in self.middle:
            x = cell(x, embedding, told)
        return skips, told.added("middle", x)

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        return points_of(*self._down(x, embedding, told))

    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        skips, x = self._down(x, embedding, told)
        for cell in self.up:
            if cell.block.resample is None:
                x = torch.cat([x, skips.pop()], dim=1)
            x = cell(x, embedding, told)
        return self.head(silu(self.head_norm(x)))
