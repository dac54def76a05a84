"""Which network is a transformer inside a small U-Net? (U-ViT: simple diffusion, arXiv 2301.11093, section 3.3 and D.)

Convolutions draw where positions are many; a transformer decides where they are few, and reads the text in every block.
Each position there sees the whole picture and the whole prompt, so that two things keep their own colours and shapes.

Shapes: b batch, c h w a feature map, m transformer positions, l text tokens, n heads, k head width, e embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import repeat
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from ._base import UNetConfig
from .attention import attend, head_count, split_heads, zeroed
from .blocks import ConvBlock, PatchedUNet, channel_norm, conv3, embeddings_of, keep_skip, silu
from .fine_level import FineLevel
from .text_reader import TextReader

# The stems, and how many cells a patch has along a side there.
STEMS = {"stem.weight": 1, "fine.stem.weight": 2, "finest.stem.weight": 4}


@dataclass(frozen=True, kw_only=True)
class UViTConfig(UNetConfig):
    """Settings of `UViT`. The levels: pixels, patches (convolutions), and half as many positions a side (transformer)."""

    tiny: ClassVar[dict[str, Any]] = {
        "patch_size": 2,
        "channels": 8,
        "num_res_blocks": 1,
        "width": 24,
        "depth": 2,
        "per_head_channels": 12,
    }
    patch_size: int = 4  # pixels a side of a patch
    channels: int = 128  # width of the patches' level
    num_res_blocks: int = 2  # of the patches' level on the way down; one more on the way up
    width: int = 512  # of the transformer
    depth: int = 12  # blocks of the transformer
    mlp_ratio: float = 4.0  # of its feed-forward layers' width to its own
    per_head_channels: int = 64  # width of its heads
    time_embed_dim: int | None = None  # 4 * channels
    fine_channels: int = 0  # width of a `FineLevel` after the head; 0: none
    fine_blocks: int = 2  # residual blocks of it
    finest_channels: int = 0  # width of a second `FineLevel` after that, at half its cells; 0: none
    finest_blocks: int = 2  # residual blocks of it
    # Whether each patch is a position of the transformer, beside the three it shares a cell with, and not the cell whole.
    split_cells: bool = False
    text_blocks: int = 0  # of a `TextReader`, which tells the tokens of each other before anything reads them; 0: none
    text_block_width: int = 192  # of those blocks
    # The stem also sees the x_0 that the network believed in at the step before (Bit Diffusion, arXiv 2208.04202, section
    # 3.2), cut to [-1, 1]; zeros where there was none.
    self_conditioning: bool = False
    # The stem also sees what stays of a picture, and where (GLIDE, arXiv 2112.10741, section 3.2).
    repaints: bool = False

    def __post_init__(self) -> None:
        if self.repaints and self.self_conditioning:
            raise ValueError(
                "a network that repaints is not told of its own estimate as well: leave out one of the two"
            )
        if self.finest_channels and not self.fine_channels:
            raise ValueError(
                "finest_channels follow a fine level, and fine_channels is 0: set both, or leave finest_channels at 0"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        shown = ("known", "mask") if self.repaints else ()
        return super().inputs + shown + (("estimate",) if self.self_conditioning else ())

    def shown_more(self, key: str, weight: Tensor, channels: int) -> Tensor:
        if key not in STEMS or channels <= weight.shape[1]:
            return weight
        own = self.in_channels * (self.patch_size // STEMS[key]) ** 2  # of x_t, which come first
        new = weight.new_zeros(weight.shape[0], channels - weight.shape[1], *weight.shape[2:])
        return torch.cat([weight[:, :own], new, weight[:, own:]], dim=1)

    @property
    def stem_channels(self) -> int:
        return self.in_channels + self.pixel_channels

    @property
    def embed_dim(self) -> int:
        return self.time_embed_dim or 4 * self.channels


def grid_embedding(
    height: int, width: int, channels: int, *, max_period: float = 100.0, device: torch.device | str = "cpu"
) -> Tensor:
    """Sinusoidal embedding of a grid's rows and columns, (h*w channels): half the channels each, for any size."""
    quarter = channels // 4
    rates = torch.exp(torch.arange(quarter, device=device) * (-math.log(max_period) / quarter))
    sides = [torch.arange(side, device=device)[:, None] * rates for side in (height, width)]  # h q, w q
    rows, columns = (torch.cat([angles.sin(), angles.cos()], dim=1) for angles in sides)  # h 2q, w 2q
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=2)
    return F.pad(grid.reshape(height * width, -1), (0, channels - 4 * quarter))


def _patches_of(x: Tensor, side: int, wanted: int) -> Tensor:
    """A picture in patches of `side` pixels (b c*side*side h/side w/side), in patches of `wanted` pixels."""
    return F.pixel_unshuffle(F.pixel_shuffle(x, side), wanted)


def _own_parts(drawn: Tensor) -> Tensor:
    """What each patch would draw of all four of its cell (b h w 4c) -> of each the part that is its own (b h/2 w/2 4c)."""
    b, h, w, _ = drawn.shape
    quarters = drawn.view(b, h // 2, 2, w // 2, 2, -1, 4)  # ..., which patch it is, c, which part is drawn
    own = [quarters[:, :, part // 2, :, part % 2, :, part] for part in range(4)]  # each b h/2 w/2 c
    return torch.stack(own, dim=-1).flatten(3)


def _normed(x: Tensor) -> Tensor:
    """Layer norm over the last axis, without weights of its own."""
    return F.layer_norm(x, x.shape[-1:])


class JoinedAttention(nn.Module):
    """Self-attention with the text's keys and values before its own (Imagen, appendix F.1).

    Queries and keys are normalised, and scaled by a learned factor a head, so that logits stay bounded (ViT-22B,
    arXiv 2302.05442).
    """

    def __init__(self, width: int, *, heads: int, text_dim: int | None, text_index: int) -> None:
        super().__init__()
        self.heads = heads
        self.text_index = text_index if text_dim is not None else -1
        self.query = nn.Linear(width, 3 * width)  # queries, keys and values in one product
        self.sharpness = nn.Parameter(torch.ones(heads, 1, 1))
        self.text_keys_values = nn.Linear(text_dim, 2 * width) if text_dim is not None else None
        self.out = nn.Linear(width, width)

    def project_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (b l d), already layer-normed -> keys and values, each (b n l k)."""
        keys, values = split_heads(self.text_keys_values(tokens), 2, self.heads)
        return _normed(keys), values

    def forward(self, x: Tensor, told: Signals) -> Tensor:
        """x (b m width), already normalised -> (b m width)."""
        queries, keys, values = split_heads(self.query(x), 3, self.heads)  # b n m k
        queries = _normed(queries) * self.sharpness.to(queries.dtype)
        return self.out(attend(queries, (_normed(keys), values), told, self.text_index))


class SquaredReLU(nn.Module):
    """max(x, 0)^2 (Primer, arXiv 2109.08668): learns as GELU does, at a tenth of its time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        positive = F.relu(x)
        return positive * positive


class TransformerBlock(nn.Module):
    """Attention and MLP, each on a layer norm scaled and shifted by the embedding, each gated (DiT, arXiv 2212.09748).

    Scales, shifts and gates come from one projection that all blocks share, plus each block's own offsets (adaLN-single,
    PixArt, arXiv 2310.00426). Both branches start at zero.
    """

    def __init__(self, config: UViTConfig, index: int) -> None:
        super().__init__()
        width, hidden = config.width, round(config.mlp_ratio * config.width)
        self.attention = JoinedAttention(
            width,
            heads=head_count(width, config.per_head_channels),
            text_dim=config.text_embed_dim,
            text_index=index,
        )
        self.mlp = nn.Sequential(nn.Linear(width, hidden), SquaredReLU(), nn.Linear(hidden, width))
        self.offsets = nn.Parameter(torch.zeros(6, width))
        self.point = f"block.{index}"

    def forward(self, x: Tensor, modulation: Tensor, told: Signals) -> Tensor:
        """x (b m width), modulation (b 6 width) -> (b m width)."""
        parts = (modulation + self.offsets.to(modulation.dtype))[:, :, None].unbind(1)  # six of b 1 width
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = parts
        x = torch.addcmul(x, gate, self.attention(torch.addcmul(shift, _normed(x), 1 + scale), told))
        x = torch.addcmul(x, mlp_gate, self.mlp(torch.addcmul(mlp_shift, _normed(x), 1 + mlp_scale)))
        return told.added(self.point, x)


class UViT(PatchedUNet):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "u_vit"
    config_cls: ClassVar[type[UNetConfig]] = UViTConfig
    way_up: ClassVar[tuple[str, ...]] = ("spread", "up", "head", "fine", "finest")
    of_words: ClassVar[tuple[str, ...]] = ("text_pooling", "text_reader")

    def __init__(self, config: UViTConfig) -> None:
        super().__init__(**embeddings_of(config, config.channels, config.embed_dim))
        self.config = config
        self.routed = 0.0  # of the positions, in training: around all blocks but two (TREAD, arXiv 2501.04765)
        self.multiple = 2 * config.patch_size
        channels, width, blocks = config.channels, config.width, config.num_res_blocks
        patch = config.patch_size**2

        self.stem = conv3(config.stem_channels * patch, channels)
        self.down = nn.ModuleList(ConvBlock(channels, channels, config.embed_dim) for _ in range(blocks))
        self.merge = nn.Linear(4 * channels, width)
        if config.split_cells:
            self.own = zeroed(nn.Linear(channels, width))  # a position's own patch, beside its cell
            self.quarter = nn.Parameter(torch.zeros(4, width))  # which of its cell's patches it is
        self.modulation = zeroed(nn.Linear(config.embed_dim, 6 * width))
        self.transformer = nn.ModuleList(TransformerBlock(config, index) for index in range(config.depth))
        self.spread = nn.Linear(width, 4 * channels)
        skips = [2 * channels] * (blocks + 1)
        self.up = nn.ModuleList(ConvBlock(skip, channels, config.embed_dim) for skip in skips)
        self.head = zeroed(conv3(channels, config.out_channels * patch))
        self.fine = self._fine_level("fine", patch=config.patch_size, features=channels)
        self.finest = self._fine_level("finest", patch=config.patch_size // 2, features=config.fine_channels)
        self.text_reader = None
        if config.text_blocks and config.text_embed_dim is not None:
            self.text_reader = TextReader(config.text_embed_dim, config.text_block_width, config.text_blocks)

    def _understood(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return tokens if self.text_reader is None else self.text_reader(tokens, mask)

    def _fine_level(self, name: str, *, patch: int, features: int) -> FineLevel | None:
        """The level whose settings are `<name>_channels` and `<name>_blocks`; None for no channels."""
        if (width := getattr(self.config, f"{name}_channels")) == 0:
            return None
        return FineLevel(
            in_channels=self.config.stem_channels,
            out_channels=self.config.out_channels,
            patch_size=patch,
            features=features,
            width=width,
            blocks=getattr(self.config, f"{name}_blocks"),
            embed=self.config.embed_dim,
            point=name,
        )

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any h and w; time (b,); returns (b out_channels h w)."""
        return self._run_patched(*self._entering(x_t, time, told), told)

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        x, embedding = super()._entering(x_t, time, told)
        if self.config.repaints:
            return torch.cat([x, self._low_res(x, told)], dim=1), embedding
        if not self.config.self_conditioning:
            return x, embedding
        before = torch.zeros_like(x) if told.pixels is None else self._low_res(x, told).clamp(-1.0, 1.0)
        return torch.cat([x, before], dim=1), embedding

    def _down(self, x: Tensor, embedding: Tensor, told: Signals) -> tuple[list[Tensor], Tensor]:
        """The skips, and the patches that the transformer is to read."""
        skips: list[Tensor] = []
        x = keep_skip(self.stem(x), skips, told)
        for block in self.down:
            x = keep_skip(block(x, embedding), skips, told)
        return skips, x

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        """The skips, and the positions (b m width) after each block."""
        skips, x = self._down(x, embedding, told)
        tokens, points = self._merged(x, told), {f"skip.{index}": skip for index, skip in enumerate(skips)}
        modulation = self.modulation(embedding).unflatten(1, (6, -1))  # b 6 width
        for block in self.transformer:
            tokens = points[block.point] = block(tokens, modulation, told)
        return points

    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        noisy = x
        skips, x = self._down(x, embedding, told)
        x = told.added("middle", x + self._transform(x, embedding, told))
        for block in self.up:
            x = block(torch.cat([x, skips.pop()], dim=1), embedding)
        features = silu(channel_norm(x))
        drawn = self.head(features)
        if self.fine is None:
            return drawn
        drawn, features = self.fine(noisy, drawn, features, embedding, told)
        if self.finest is None:
            return drawn
        side = self.config.patch_size
        noisy, drawn = (_patches_of(patches, side, side // 2) for patches in (noisy, drawn))
        drawn, _ = self.finest(noisy, drawn, features, embedding, told)
        return _patches_of(drawn, side // 2, side)

    def _transform(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        """What the transformer adds to the patches (b c h w): four of them are one of its positions."""
        b, _, h, w = x.shape
        modulation = self.modulation(embedding).unflatten(1, (6, -1))  # b 6 width
        cells = self.spread(_normed(self._run_blocks(self._merged(x, told), modulation, told)))  # b m 4c
        if self.config.split_cells:
            cells = _own_parts(cells.view(b, h, w, -1))
        return F.pixel_shuffle(cells.view(b, h // 2, w // 2, -1).permute(0, 3, 1, 2), 2)

    def _merged(self, x: Tensor, told: Signals) -> Tensor:
        """Patches (b c h w), four of them as one position, with where it lies: (b m width), or (b 4m width) when split."""
        h, w = x.shape[-2:]
        cells = F.pixel_unshuffle(x, 2)  # b 4c h/2 w/2
        tokens = self.merge(cells.permute(0, 2, 3, 1).flatten(1, 2))  # b m width
        tokens = tokens + grid_embedding(h // 2, w // 2, tokens.shape[-1], device=x.device).to(tokens.dtype)
        return told.added("tokens", self._split(tokens, x) if self.config.split_cells else tokens)

    def _split(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Cells (b m width), patches (b c h w) -> (b 4m width), row by row: a cell, one of its patches, and which it is."""
        h, w = x.shape[-2:]
        own = self.own(x.permute(0, 2, 3, 1)) + self.quarter.to(x.dtype).view(2, 2, -1).repeat(h // 2, w // 2, 1)
        cells = repeat(tokens, "b (h w) k -> b (h p) (w q) k", h=h // 2, p=2, q=2)
        return (cells + own).flatten(1, 2)

    def _run_blocks(self, tokens: Tensor, modulation: Tensor, told: Signals) -> Tensor:
        """tokens (b m width) through the transformer; while training, `routed` of them go around its middle."""
        around = self.routed if self.training else 0.0
        if around == 0:
            for block in self.transformer:
                tokens = block(tokens, modulation, told)
            return tokens
        first, *middle, last = self.transformer
        tokens = first(tokens, modulation, told)
        b, m, width = tokens.shape
        order = torch.rand(b, m, device=tokens.device).argsort(1)[:, round(around * m) :]
        kept = order[..., None].expand(-1, -1, width)  # b k width
        part = tokens.gather(1, kept)
        for block in middle:
            part = block(part, modulation, told)
        return last(tokens.scatter(1, kept, part), modulation, told)
