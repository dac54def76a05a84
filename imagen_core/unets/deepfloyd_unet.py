"""Which network do DeepFloyd IF's two stages have? (ADM's U-Net, arXiv 2105.05233, with Imagen's text, 2205.11487.)

Against `BaseUNet`: GELU instead of SiLU; the text is normalised in groups over its channels and all 77 tokens, pads
included, and no mask hides a token; stage II reads the upscaled picture and how noisy it is.

Shapes: b batch, c h w a feature map, e time embedding, l text tokens (77), d width of the text encoder, k width of the
text inside the network, n attention heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, Tokens, aug_level_to_timestep
from ._base import UNet, UNetConfig
from .attention import attend, head_count, split_heads
from .blocks import conv3, keep_skip, points_of, zeroed
from .group_norm import GroupNorm

NORM_GROUPS = 32
TEXT_TOKENS = 77
SKIP_DIVISOR = 1.4142271248762552  # stage II: 1/0.7071 and not sqrt(2), as published
MAX_ATTENDED = 128 * 128  # positions; attention takes time, and on some devices memory, with their square


@dataclass(frozen=True, kw_only=True)
class DeepFloydUNetConfig(UNetConfig):
    """Settings of `DeepFloydUNet`; the defaults are IF-I-XL. One entry a level, finest first.

    in_channels: of the picture (low_res_conditioning doubles what the stem reads). num_res_blocks: on the way down; the
    way up has one more. attention: after every block of that level; the middle always attends. text_width: of the text
    inside the network. project_text: whether a layer takes it there from text_embed_dim. pooling_heads: of the attention
    that pools the text. time_embed_dim: 4 * channels[0] when None. low_res_conditioning: stage II. skip_divisor: what
    the sum of a block and its skip is divided by.
    """

    out_channels: int = 6
    channels: tuple[int, ...] = (704, 1408, 2112, 2816)
    num_res_blocks: tuple[int, ...] = (3, 3, 3, 3)
    attention: tuple[bool, ...] = (False, True, True, True)
    per_head_channels: int = 64
    text_width: int = 2816
    project_text: bool = True
    pooling_heads: int = 64
    time_embed_dim: int | None = None
    low_res_conditioning: bool = False
    skip_divisor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_res_blocks", "attention"):
            entries, levels = len(getattr(self, name)), len(self.channels)
            if entries != levels:
                raise ValueError(f"{name} has {entries} entries, channels {levels}; give one a level.")
        counts = (*self.channels, *self.num_res_blocks, self.per_head_channels, self.pooling_heads, self.skip_divisor)
        if not self.channels or min(counts) <= 0:
            raise ValueError(f"Every number of a network must be positive, and there must be a level: {self}.")
        if self.text_embed_dim is None or self.patch_size != 1 or self.pooling_queries != 1:
            raise ValueError("A DeepFloyd network reads text (text_embed_dim), with patch_size and pooling_queries 1.")
        if not self.project_text and self.text_width != self.text_embed_dim:
            raise ValueError(f"Without project_text, text_width {self.text_width} must be {self.text_embed_dim}.")
        odd = [width for width in (*self.channels, self.text_width) if width % NORM_GROUPS]
        if odd:
            raise ValueError(f"Widths {odd} are no multiples of {NORM_GROUPS}, the number of groups of every norm.")
        if self.text_embed_dim % self.pooling_heads:
            raise ValueError(f"text_embed_dim {self.text_embed_dim} does not split into {self.pooling_heads} heads.")

    @property
    def embed_dim(self) -> int:
        return self.time_embed_dim or 4 * self.channels[0]

    @property
    def stem_channels(self) -> int:
        return self.in_channels * (2 if self.low_res_conditioning else 1)


def group_norm(channels: int) -> GroupNorm:
    return GroupNorm(NORM_GROUPS, channels)


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU of a tensor that nobody else holds: in place where no gradient is recorded."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


class TimestepEmbedding(nn.Module):
    """A timestep (b,) -> (b, e): [cos, sin] in float32, whatever the weights are, then a two-layer MLP."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.width = width
        self.in_layer = nn.Linear(width, embed_dim)
        self.out_layer = nn.Linear(embed_dim, embed_dim)

    def forward(self, timestep: Tensor) -> Tensor:
        half = self.width // 2
        steps = torch.arange(half, device=timestep.device, dtype=torch.float32)
        # Divided last: rounded as the published code rounds it, for 999 times a rounding error can be seen.
        angles = timestep.float()[:, None] * torch.exp(-9.210340371976184 * steps / half)  # ln 10000; b width/2
        embedding = torch.cat([angles.cos(), angles.sin()], dim=1)  # b width
        return self.out_layer(F.gelu(self.in_layer(embedding.to(self.in_layer.weight.dtype))))


class TextPooling(nn.Module):
    """Tokens (b l d) -> (b e): their mean asks, they and it answer (attention pooling)."""

    def __init__(self, text_dim: int, embed_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_norm = nn.LayerNorm(text_dim)
        self.position = nn.Parameter(torch.randn(1, text_dim) / text_dim**0.5)
        self.query = nn.Linear(text_dim, text_dim)
        self.keys_values = nn.Linear(text_dim, 2 * text_dim)
        self.out_layer = nn.Linear(text_dim, embed_dim)
        self.out_norm = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.in_norm(tokens)
        mean = tokens.mean(dim=1, keepdim=True) + self.position  # b 1 d
        (query,) = split_heads(self.query(mean), 1, self.heads)  # b n 1 d/n
        keys, values = split_heads(self.keys_values(torch.cat([mean, tokens], dim=1)), 2, self.heads)  # b n 1+l d/n
        pooled = F.scaled_dot_product_attention(query, keys, values).flatten(1)  # b d
        return self.out_norm(self.out_layer(pooled))


class Attention(nn.Module):
    """Picture positions attend to text and to each other; text keys and values come ready from `project_text`."""

    def __init__(self, channels: int, *, heads: int, text_width: int, text_index: int) -> None:
        super().__init__()
        self.heads = heads
        self.text_index = text_index
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.text_norm = group_norm(text_width)
        self.text_kv = nn.Linear(text_width, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def project_text(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """text (b l k) -> keys and values, each (b n l c/n)."""
        keys, values = split_heads(self.text_kv(self.text_norm(text.mT).mT), 2, self.heads)
        return keys, values

    def forward(self, x: Tensor, told: Signals) -> Tensor:
        b, c, h, w = x.shape
        # Views, as x is in channels_last memory.
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        queries, keys, values = split_heads(self.qkv(tokens), 3, self.heads)  # b n h*w c/n
        read = self.out(attend(queries, (keys, values), told, self.text_index))  # b h*w c
        return x + read.view(b, h, w, c).permute(0, 3, 1, 2)


class ResBlock(nn.Module):
    """norm, GELU, (resample), conv, scale-shift norm, GELU, conv; plus a skip, both divided by `divisor`."""

    def __init__(self, c_in: int, c_out: int, *, resample: str | None, divisor: float) -> None:
        super().__init__()
        self.resample = resample
        self.divisor = divisor
        self.in_norm = group_norm(c_in)
        self.in_conv = conv3(c_in, c_out)
        self.out_norm = group_norm(c_out)
        self.out_conv = zeroed(conv3(c_out, c_out))
        self.skip = nn.Linear(c_in, c_out) if c_in != c_out else None

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """x (b c_in h w); scale and shift (b c_out 1 1), scale already with its 1 -> (b c_out h' w')."""
        h = self.in_conv(self._resampled(gelu(self.in_norm(x))))
        h = self.out_conv(gelu(self.out_norm(h, scale, shift)))
        # A 1x1 convolution is a product over channels, which lie innermost: no layout change, and a faster kernel.
        skip = self._resampled(x) if self.skip is None else self.skip(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return h + skip if self.divisor == 1.0 else (h + skip) / self.divisor


class Cell(nn.Module):
    """A residual block, and attention after it where the level attends."""

    def __init__(self, block: ResBlock, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, modulation: tuple[Tensor, Tensor], told: Signals) -> Tensor:
        x = self.block(x, *modulation)
        return x if self.attention is None else self.attention(x, told)


class DeepFloydUNet(UNet):
    """network(x_t, timestep, told): noisy picture (b c h w), timestep (b,) in 0..999 -> (b 2c h w)."""

    name: ClassVar[str] = "deepfloyd_if"
    config_cls: ClassVar[type[UNetConfig]] = DeepFloydUNetConfig
    way_up: ClassVar[tuple[str, ...]] = ("up", "head_norm", "head")

    def __init__(self, config: DeepFloydUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.multiple = 2 ** (len(config.channels) - 1)
        self._widths: list[int] = []
        self._attentions = 0
        first, last = config.channels[0], config.channels[-1]

        self.time_embedding = TimestepEmbedding(first, config.embed_dim)
        self.aug_embedding = TimestepEmbedding(first, config.embed_dim) if config.low_res_conditioning else None
        self.text_pooling = TextPooling(config.text_embed_dim, config.embed_dim, config.pooling_heads)
        self.text_projection = nn.Linear(config.text_embed_dim, config.text_width) if config.project_text else None
        self.stem = conv3(config.stem_channels, first)
        self.down, skips = self._make_down()
        self.middle = nn.ModuleList([self._cell(last, last, attends=attends) for attends in (True, False)])
        self.up = self._make_up(skips)
        # One product for the scales and shifts of all blocks: all scales first, then all shifts, in the cells' order.
        self.scale_shift = nn.Linear(config.embed_dim, 2 * sum(self._widths))
        self.head_norm = group_norm(first)
        self.head = zeroed(conv3(first, config.out_channels))

    def _cell(self, c_in: int, c_out: int, *, attends: bool = False, resample: str | None = None) -> Cell:
        config = self.config
        self._widths.append(c_out)
        attention = None
        if attends:
            heads = head_count(c_out, config.per_head_channels)
            attention = Attention(c_out, heads=heads, text_width=config.text_width, text_index=self._attentions)
            self._attentions += 1
        return Cell(ResBlock(c_in, c_out, resample=resample, divisor=config.skip_divisor), attention)

    def _make_down(self) -> tuple[nn.ModuleList, list[int]]:
        """The way down, and the width of each skip it leaves (stem first)."""
        config = self.config
        cells: list[Cell] = []
        skips = [config.channels[0]]
        for level, (width, blocks) in enumerate(zip(config.channels, config.num_res_blocks, strict=True)):
            for _ in range(blocks):
                cells.append(self._cell(skips[-1], width, attends=config.attention[level]))
                skips.append(width)
            if level + 1 < len(config.channels):
                cells.append(self._cell(width, width, resample="down"))
                skips.append(width)
        return nn.ModuleList(cells), skips

    def _make_up(self, skips: list[int]) -> nn.ModuleList:
        """The way up: a block takes one skip, or (without a skip) doubles the side."""
        config = self.config
        skips = list(skips)
        cells: list[Cell] = []
        width = config.channels[-1]
        for level in reversed(range(len(config.channels))):
            for _ in range(config.num_res_blocks[level] + 1):
                c_out = config.channels[level]
                cells.append(self._cell(width + skips.pop(), c_out, attends=config.attention[level]))
                width = c_out
            if level:
                cells.append(self._cell(width, width, resample="up"))
        assert not skips
        return nn.ModuleList(cells)

    @property
    def cells(self) -> list[Cell]:
        """All cells in the order in which they run, which is the order of `scale_shift`."""
        return [*self.down, *self.middle, *self.up]

    def encode_text(self, text: TextEmbeds) -> Signals:
        """Everything this network needs of a prompt, once for all steps: keys and values a layer, pooled text.

        text.embeds is (b 77 d): T5's states of the padded prompt, pads as T5 leaves them; the network reads them all,
        so text.mask is not used. Raises ValueError for another number of tokens or another width.
        """
        width, tokens = text.embeds.shape[-1], text.embeds.shape[-2]
        if width != self.config.text_embed_dim:
            raise ValueError(
                f"Text embeddings are {width} wide, this network reads {self.config.text_embed_dim}; DeepFloyd IF was "
                "trained with T5 v1.1 XXL (4096 wide): load that text encoder."
            )
        if tokens != TEXT_TOKENS:
            raise ValueError(
                f"The prompt is {tokens} tokens long, and DeepFloyd IF reads exactly {TEXT_TOKENS}: encode it with "
                f"padding {TEXT_TOKENS} (the padding input of Imagen Text Encode, or encode_prompt(..., pad_to=77))."
            )
        embeds = text.embeds.to(self.stem.weight.dtype)  # on its own device: weights may rest elsewhere
        hidden = embeds if self.text_projection is None else self.text_projection(embeds)  # b l k
        layers = [cell.attention for cell in self.cells if cell.attention is not None]
        return Signals(
            vector=self.text_pooling(embeds),
            tokens=Tokens(keys_values=tuple(layer.project_text(hidden) for layer in layers)),
        )

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b c h w) in the network's dtype; time (b,), the timestep in 0..999; returns (b out_channels h w).

        A side that is no multiple of 2 ** (levels - 1) is padded by its border and cropped back. Raises ValueError
        for missing conditions and for a picture too large to attend to.
        """
        h, w = x_t.shape[-2:]
        x = self._body(*self._entering(x_t, time, told), told)
        return x[:, :, :h, :w] if h % self.multiple or w % self.multiple else x

    def way_down(self, x_t: Tensor, time: Tensor, told: Signals) -> dict[str, Tensor]:
        return points_of(*self._down(*self._entering(x_t, time, told), told))

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
        """What the stem sees, padded to whole cells, and each cell's scale and shift in their order."""
        if told.tokens is None or told.vector is None:
            raise ValueError("this network is conditioned on text, and was told none: add what encode_text returns")
        h, w = x_t.shape[-2:]
        self._check_size(h, w)
        embedding = self.time_embedding(time) + told.vector.to(x_t.dtype)  # b e
        x = x_t
        if self.aug_embedding is not None:
            low_res, timestep = self._low_res(x_t, told)
            embedding = embedding + self.aug_embedding(timestep)
            x = torch.cat([x_t, low_res], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        pad_h, pad_w = -h % self.multiple, -w % self.multiple
        if pad_h or pad_w:
            x = F.pad(x, (0, pad_w, 0, pad_h), mode="replicate")
        return x, iter(self._modulations(embedding))

    def _low_res(self, x_t: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        """The upscaled picture in x_t's dtype, and the timestep (b,) of its noise."""
        low_res, aug_level = told.pixels, told.aug_level
        if low_res is None or aug_level is None:
            raise ValueError("stage II needs a low_res picture (Signals.pixels, at the output's size) and aug_level")
        if low_res.shape[-2:] != x_t.shape[-2:]:
            sizes = f"low_res is {tuple(low_res.shape[-2:])}, x_t {tuple(x_t.shape[-2:])}"
            raise ValueError(f"{sizes}; resize low_res first.")
        return low_res.to(x_t.dtype), aug_level_to_timestep(aug_level)

    def _check_size(self, h: int, w: int) -> None:
        """Refuse what would ask a machine for hundreds of gigabytes, or hours, without a word."""
        level = next((level for level, attends in enumerate(self.config.attention) if attends), len(self.down))
        attended = (h >> level) * (w >> level)
        if attended > MAX_ATTENDED:
            side = 128 << level
            stage, other = ("II", "make it in parts") if self.aug_embedding else ("I", "draw at 64 and enlarge")
            raise ValueError(
                f"a picture of {w}x{h} makes DeepFloyd's stage {stage} attend over {attended} positions at once, and "
                f"{MAX_ATTENDED} ({side}x{side} pixels) is the limit: {other} it"
            )

    def _modulations(self, embedding: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(b e) -> for each cell its scale, with the 1 of (1 + scale), and shift, each (b c 1 1)."""
        scales, shifts = self.scale_shift(F.gelu(embedding))[:, :, None, None].chunk(2, dim=1)
        return list(zip((scales + 1.0).split(self._widths, 1), shifts.split(self._widths, 1), strict=True))

    def _down(self, x: Tensor, coming: Iterator[tuple[Tensor, Tensor]], told: Signals) -> tuple[list[Tensor], Tensor]:
        """The skips, and what leaves the middle."""
        skips: list[Tensor] = []
        x = keep_skip(self.stem(x), skips, told)
        for cell in self.down:
            x = keep_skip(cell(x, next(coming), told), skips, told)
        for cell in self.middle:
            x = cell(x, next(coming), told)
        return skips, told.added("middle", x)

    def _body(self, x: Tensor, coming: Iterator[tuple[Tensor, Tensor]], told: Signals) -> Tensor:
        skips, x = self._down(x, coming, told)
        for cell in self.up:
            if cell.block.resample is None:
                x = torch.cat([x, skips.pop()], dim=1)
            x = cell(x, next(coming), told)
        return self.head(gelu(self.head_norm(x)))
