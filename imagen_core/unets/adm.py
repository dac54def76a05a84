"""Which U-Net do ADM and its family have? (arXiv 2105.05233, section 3; with text in attention: GLIDE, Imagen, unCLIP.)

One network, and flags for what its relatives differ in. This pack's base (base_unet.py) and DeepFloyd IF
(deepfloyd_unet.py) are files of settings for it: each says in `adm` what its own settings mean here.

Shapes: b batch, c h w a feature map, p patch_size, e time embedding, l text tokens, d width of the text encoder, k width
of the text inside the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, aug_level_to_timestep
from ._base import UNetConfig
from .attention import Attention, head_count, zeroed
from .blocks import ACTIVATIONS, BlockStyle, Modulation, PatchedUNet, ResBlock, conv3, doubled, keep_skip, points_of
from .group_norm import group_norm
from .told_parts import scalar_embedding, text_pooling, text_projection, text_transformer

MAX_ATTENDED = 128 * 128  # positions; attention takes time, and on some devices memory, with their square
PIXELS = ("low_res", "known", "mask")  # what may be joined to x_t: pictures, and a mask of one channel, 1 where known
POOLINGS = ("queries", "mean", "last", None)


@dataclass(frozen=True, kw_only=True)
class ADMConfig(UNetConfig, BlockStyle):
    """Settings of `ADM`; the defaults are the published 256x256 network. One entry a level, finest first."""

    tiny: ClassVar[dict[str, Any]] = {
        "channels": (32, 64),
        "num_res_blocks": (1, 1),
        "attention": (False, True),
        "per_head_channels": 32,
    }
    out_channels: int = 6  # a learned variance with it
    text_embed_dim: int | None = None  # width of the text encoder; None: a network without text
    norm_groups: int | None = 32  # of every norm; None: at most 32, of at least four channels
    joint: bool = True  # see `BlockStyle`

    channels: tuple[int, ...] = (256, 256, 512, 512, 1024, 1024)  # width of each level
    num_res_blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2)  # on the way down; the way up has one more a level
    attention: tuple[bool, ...] = (False, False, False, True, True, True)  # after every block of that level
    middle_attention: bool = True  # between the two blocks at the bottom
    per_head_channels: int = 64  # width of a head
    num_heads: int | None = None  # heads of every layer, whatever its width; None: as many as fit per_head_channels
    resample_by_block: bool = True  # a residual block halves or doubles (BigGAN); else a convolution
    pad_below: bool = False  # a convolution that halves sees zeros below and to the right alone (DDPM); else all around
    time_width: int | None = None  # of the time's sinusoid; None: channels[0]
    time_embed_dim: int | None = None  # None: 4 * time_width
    angles_as_published: bool = True  # how the time's angles are rounded; False: as this pack's own networks do
    freq_shift: int = 0  # 1: the slowest of the time's angles is time / 10,000 (DDPM); else one step faster
    num_classes: int | None = None  # of which one is drawn (`encode_class`)
    pixels: tuple[str, ...] = ()  # what Signals.pixels holds, of PIXELS, in the order of the channels
    reads_aug_level: bool = False  # whether the noise on low_res is told

    text_width: int | None = None  # of the text inside, to which a layer takes it; None: it stays as it comes
    text_tokens: int | None = None  # how many are read, no more and no fewer; None: any number
    text_mask: bool = True  # whether padding is hidden; else it is read as text
    text_norm: str | None = "layer"  # layer: over the width, once; group: in groups, before each attention; or none
    # Beside the time: learned queries pool the text, or its "mean", or its "last" token speaks for it; or nothing.
    text_pooling: str | None = "queries"
    pooling_heads: int = 1  # of the "mean"
    text_vocab: int | None = None  # text is ids below it, read by a transformer inside, text_width wide; None: encoded
    text_layers: int = 16  # of that transformer
    text_heads: int = 8  # of each of its layers
    max_attended: int | None = MAX_ATTENDED  # positions at the finest level that attends; larger pictures are refused

    def __post_init__(self) -> None:
        for name in ("num_res_blocks", "attention"):
            entries, levels = len(getattr(self, name)), len(self.channels)
            if entries != levels:
                raise ValueError(f"{name} has {entries} entries, channels {levels}: give one a level")
        counts = (*self.channels, self.per_head_channels, self.pooling_heads, self.skip_divisor, self.num_heads or 1)
        if not self.channels or min(*counts, self.embed_dim) <= 0 or min(self.num_res_blocks) < 0:
            raise ValueError(f"every number of a network must be positive, and there must be a level: {self}")
        _known("activation", self.activation, ACTIVATIONS)
        _known("text_norm", self.text_norm, ("layer", "group", None))
        _known("text_pooling", self.text_pooling, POOLINGS)
        for each in self.pixels:
            _known("pixels", each, PIXELS)
        self._check_divisible()

    def _check_divisible(self) -> None:
        text = self.text_inside if self.text_norm == "group" else None
        odd = [width for width in (*self.channels, text or 0) if width % (self.norm_groups or 1)]
        if odd:
            raise ValueError(f"widths {odd} are no multiples of {self.norm_groups}, the number of groups of every norm")
        if self.text_pooling == "mean" and (self.text_embed_dim or 0) % self.pooling_heads:
            raise ValueError(f"text_embed_dim {self.text_embed_dim} does not split into {self.pooling_heads} heads")
        if self.text_vocab is not None:
            self._check_transformer()

    def _check_transformer(self) -> None:
        if self.text_embed_dim != 1 or not self.text_width or not self.text_tokens or self.text_norm is not None:
            raise ValueError(
                f"a network that reads {self.text_vocab} ids itself has text_embed_dim 1, a text_width, a number of "
                "text_tokens and no text_norm"
            )
        if min(self.text_vocab, self.text_layers, self.text_heads) <= 0 or self.text_width % self.text_heads:
            raise ValueError(f"text_width {self.text_width} does not split into {self.text_heads} text_heads")

    @classmethod
    def of(cls, relative: UNetConfig, **settings: Any) -> ADMConfig:
        """What a relative's settings mean here: those of the same name the same, and `settings` what is said of others."""
        shared = {each.name: getattr(relative, each.name) for each in fields(cls) if hasattr(relative, each.name)}
        return cls(**{**shared, **settings})

    @property
    def adm(self) -> ADMConfig:
        """The same in terms of this class: itself. Settings of a relative say what they mean here."""
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """What enters besides x_t and the time."""
        told = {"text": self.text_embed_dim, "class": self.num_classes, "aug_level": self.reads_aug_level}
        return (*(name for name, value in told.items() if value), *self.pixels)

    @property
    def embed_dim(self) -> int:
        return self.time_embed_dim or 4 * (self.time_width or self.channels[0])

    @property
    def text_inside(self) -> int | None:
        """Width of the text that attention reads; None without text."""
        return None if self.text_embed_dim is None else self.text_width or self.text_embed_dim

    @property
    def text_length(self) -> int | None:
        return self.text_tokens

    @property
    def reads_ids(self) -> bool:
        return self.text_vocab is not None

    @property
    def stem_channels(self) -> int:
        """Channels of the picture and of what is joined to it."""
        return self.in_channels + self.pixel_channels


def _known(name: str, value: Any, choices: Any) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: expected one of {list(choices)}")


class Resampling(nn.Module):
    """A convolution in place of a residual block that halves or doubles the picture; it is told nothing."""

    told_channels = 0
    scale_shift = None

    def __init__(self, channels: int, *, resample: str, pad_below: bool) -> None:
        super().__init__()
        self.resample = resample
        self.conv = conv3(channels, channels, stride=2 if resample == "down" else 1)
        self.pad_below = pad_below and resample == "down"
        if self.pad_below:
            self.conv.padding = (0, 0)

    def modulation(self, embedding: Tensor) -> Modulation | None:
        return None

    def forward(self, x: Tensor, modulation: Modulation | None) -> Tensor:
        if self.pad_below:
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(doubled(x) if self.resample == "up" else x)


class Cell(nn.Module):
    """A residual block, and attention after it where the level attends."""

    def __init__(self, block: ResBlock | Resampling, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, modulation: Modulation, told: Signals) -> Tensor:
        x = self.block(x, modulation)
        return x if self.attention is None else self.attention(x, told)


class ADM(PatchedUNet):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "adm"
    config_cls: ClassVar[type[UNetConfig]] = ADMConfig

    def __init__(self, config: Any) -> None:
        flags: ADMConfig = config.adm
        super().__init__(
            patch_size=flags.patch_size,
            text_dim=flags.text_embed_dim,
            time_embedding=scalar_embedding(flags),
            text_pooling=text_pooling(flags),
        )
        self.config = config
        self.flags = flags
        self.activation = ACTIVATIONS[flags.activation]
        self.multiple = flags.patch_size * 2 ** (len(flags.channels) - 1)
        self._attentions = 0
        first, patch = flags.channels[0], flags.patch_size**2

        self.aug_embedding = scalar_embedding(flags) if flags.reads_aug_level else None
        self.text_projection = text_projection(flags)
        self.text_transformer = text_transformer(flags)
        self.class_embedding = nn.Embedding(flags.num_classes, flags.embed_dim) if flags.num_classes else None
        self.stem = conv3(flags.stem_channels * patch, first)
        self.down, skips = self._make_down()
        self.middle = self._make_middle()
        self.up = self._make_up(skips)
        # One product for what all blocks are told: all scales first, then all shifts, in the cells' order.
        self._told_channels = [cell.block.told_channels for cell in self.cells]
        self.scale_shift = nn.Linear(flags.embed_dim, sum(self._told_channels)) if flags.joint else None
        self.head_norm = group_norm(first, flags.norm_groups, flags.norm_eps)
        self.head = zeroed(conv3(first, flags.out_channels * patch))

    def _cell(self, c_in: int, c_out: int, *, attends: bool = False) -> Cell:
        attention = self._attention(c_out) if attends else None  # first, so that a seed makes the networks of 0.1
        return Cell(ResBlock(c_in, c_out, self.flags.embed_dim, style=self.flags), attention)

    def _attention(self, channels: int) -> Attention:
        flags = self.flags
        index, self._attentions = self._attentions, self._attentions + 1
        return Attention(
            channels,
            heads=flags.num_heads or head_count(channels, flags.per_head_channels),
            inner=channels,
            text_dim=flags.text_inside,
            text_index=index,
            norm_groups=flags.norm_groups,
            norm_eps=flags.norm_eps,
            text_norm=flags.text_norm == "group",
        )

    def _resampling(self, channels: int, resample: str) -> Cell:
        if not self.flags.resample_by_block:
            return Cell(Resampling(channels, resample=resample, pad_below=self.flags.pad_below), None)
        return Cell(ResBlock(channels, channels, self.flags.embed_dim, resample=resample, style=self.flags), None)

    def _make_down(self) -> tuple[nn.ModuleList, list[int]]:
        """The way down, and the width of each skip it leaves (stem first)."""
        flags = self.flags
        cells: list[Cell] = []
        skips = [flags.channels[0]]
        for level, (width, blocks) in enumerate(zip(flags.channels, flags.num_res_blocks, strict=True)):
            for _ in range(blocks):
                cells.append(self._cell(skips[-1], width, attends=flags.attention[level]))
                skips.append(width)
            if level + 1 < len(flags.channels):
                cells.append(self._resampling(width, "down"))
                skips.append(width)
        return nn.ModuleList(cells), skips

    def _make_middle(self) -> nn.ModuleList:
        last = self.flags.channels[-1]
        return nn.ModuleList([self._cell(last, last, attends=self.flags.middle_attention), self._cell(last, last)])

    def _make_up(self, skips: list[int]) -> nn.ModuleList:
        """The way up: a block takes one skip, or (without a skip) doubles the side."""
        flags = self.flags
        skips = list(skips)
        cells: list[Cell] = []
        width = flags.channels[-1]
        for level in reversed(range(len(flags.channels))):
            for _ in range(flags.num_res_blocks[level] + 1):
                cells.append(self._cell(width + skips.pop(), flags.channels[level], attends=flags.attention[level]))
                width = flags.channels[level]
            if level:
                cells.append(self._resampling(width, "up"))
        assert not skips
        return nn.ModuleList(cells)

    @property
    def cells(self) -> list[Cell]:
        """All cells in the order in which they run."""
        return [*self.down, *self.middle, *self.up]

    def encode_text(self, text: TextEmbeds) -> Signals:
        """Everything this network needs of a prompt, once for all steps: keys and values a layer, pooled text.

        text.embeds is (b l d), text.mask (b l) bool. Differentiable. Raises ValueError when the network takes no text,
        or text of another width or length.
        """
        read, mask = self._readable(text)
        if self.text_transformer is not None:
            read = self.text_transformer(read.squeeze(-1), mask)  # b l 1 -> b l k
        elif self.flags.text_norm == "layer":
            read = F.layer_norm(read, (self.text_dim,))
        inside = read if self.text_projection is None else self.text_projection(read)  # b l k
        return Signals(
            vector=None if self.text_pooling is None else self.text_pooling(read, mask),
            tokens=self._projected(inside, mask if self.flags.text_mask else None),
        )

    def _readable(self, text: TextEmbeds) -> tuple[Tensor, Tensor]:
        embeds, mask = super()._readable(text)
        wanted = self.flags.text_tokens
        if wanted is not None and embeds.shape[1] != wanted:
            raise ValueError(
                f"the prompt is {embeds.shape[1]} tokens long, and this network reads exactly {wanted}: leave padding "
                f"of Imagen Text Encode at auto, or encode with padding {wanted} (encode_prompt(..., pad_to={wanted}))"
            )
        rows = self.flags.text_vocab
        if rows is not None and not embeds.is_meta and not 0 <= embeds.min() <= embeds.max() < rows:
            raise ValueError(f"a token id of the prompt is none of the {rows} known here: use {self.own_text_encoder}")
        return embeds, mask

    def encode_class(self, labels: Tensor) -> Signals:
        """What the network is told of which class to draw; labels (b,) integers in 0..num_classes-1.

        Raises ValueError for a network without classes, or a label that is no class.
        """
        if self.class_embedding is None:
            raise ValueError("this network was built without classes (num_classes is None): give it no label")
        classes = self.class_embedding.num_embeddings
        wrong = [] if labels.is_meta else [label for label in labels.tolist() if not 0 <= label < classes]
        if wrong:
            raise ValueError(f"label {wrong[0]} is no class of this network: it has {classes}, 0 to {classes - 1}")
        return Signals(vector=self.class_embedding(labels.to(self.class_embedding.weight.device)))

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any h and w; time (b,); returns (b out_channels h w).

        Raises ValueError for missing conditions, and for a picture too large to attend to.
        """
        return self._run_patched(*self._entering(x_t, time, told), told)

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        self._check_size(*x_t.shape[-2:])
        x = torch.cat([x_t, self._low_res(x_t, told)], dim=1) if self.flags.pixels else x_t
        return x.contiguous(memory_format=torch.channels_last), self._embed(time, told)

    def _embed(self, time: Tensor, told: Signals) -> Tensor:
        embedding = super()._embed(time, told)
        if self.class_embedding is not None and told.vector is None:
            raise ValueError("this network draws one of its classes, and was told none: add encode_class(labels)")
        if self.aug_embedding is None:
            return embedding
        return embedding + self.aug_embedding(aug_level_to_timestep(self._aug_level(told)))

    def _check_size(self, h: int, w: int) -> None:
        """Refuse what would ask a machine for hundreds of gigabytes, or hours, without a word."""
        flags = self.flags
        level = next((level for level, attends in enumerate(flags.attention) if attends), len(flags.channels) - 1)
        cell = flags.patch_size << level
        attended = (h // cell) * (w // cell)
        if flags.max_attended is not None and attended > flags.max_attended:
            side = int(flags.max_attended**0.5) * cell
            other = "make it in parts" if flags.pixels else "draw it smaller and enlarge"
            raise ValueError(
                f"a picture of {w}x{h} makes this network attend over {attended} positions at once, and "
                f"{flags.max_attended} ({side}x{side} pixels) is the limit: {other} it"
            )

    def _modulations(self, embedding: Tensor) -> Iterator[Modulation]:
        """(b e) after its activation -> for each cell its scale and shift, each (b c 1 1)."""
        if self.scale_shift is None:
            return (cell.block.modulation(embedding) for cell in self.cells)
        told = self.scale_shift(embedding)[:, :, None, None]
        if not self.flags.scale_shift:
            return ((None, shift) for shift in told.split(self._told_channels, 1))
        widths = [both // 2 for both in self._told_channels]
        scales, shifts = told.chunk(2, dim=1)
        return zip((scales + 1.0).split(widths, 1), shifts.split(widths, 1), strict=True)

    def _down(self, x: Tensor, modulations: Iterator[Modulation], told: Signals) -> tuple[list[Tensor], Tensor]:
        """The skips, and what leaves the middle."""
        skips: list[Tensor] = []
        x = keep_skip(self.stem(x), skips, told)
        for cell in self.down:
            x = keep_skip(cell(x, next(modulations), told), skips, told)
        for cell in self.middle:
            x = cell(x, next(modulations), told)
        return skips, told.added("middle", x)

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        return points_of(*self._down(x, self._modulations(embedding), told))

    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        modulations = self._modulations(embedding)
        skips, x = self._down(x, modulations, told)
        for cell in self.up:
            if cell.block.resample is None:
                x = torch.cat([x, skips.pop()], dim=1)
            x = cell(x, next(modulations), told)
        return self.head(self.activation(self.head_norm(x)))
