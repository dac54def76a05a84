"""How does a reference's texture come into an enlarged picture? The small picture looks for its like in the reference.

Reference-based super-resolution (SRNTT, arXiv 1903.00834; the soft attention is TTSR's, arXiv 2006.04139, section 3.2): the
small picture and the reference made as blurred are seen by one encoder, and where they are alike the sharp reference's
features are read. They are made once a picture and added on the way down, as a T2I-Adapter's are (arXiv 2302.08453), so that
a network that reads no text can be told of a reference, and no step costs more.

Shapes: b images, k references, c h w a map, s its positions, u the finest cell's side in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from ..super_resolution import resize
from ..unets import UNetConfig
from ..unets.blocks import conv3
from ._base import Adapter, AdapterConfig, Given, padded
from ._points import layout_of
from .t2i_adapter import scales_of, way_through


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig(AdapterConfig):
    """Settings of `Reference`; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {"width": 8, "blocks": 1}
    kinds: tuple[str, ...] = ("picture",)
    width: int = 64  # of what is seen of a cell
    blocks: int = 1  # residual blocks a scale
    most: int = 256  # pixels of a reference's longer side; a larger one is shrunk, and its texture with it
    shrink: int = 4  # how much smaller the small picture is: by so much the reference is blurred to be compared


class Cells(nn.Module):
    """What is seen in each cell of a picture and in its neighbours: (b 3 h w) -> (b c h/u w/u)."""

    def __init__(self, cell: int, width: int) -> None:
        super().__init__()
        self.cell = cell
        self.conv_in = conv3(3 * cell**2, width)
        self.conv = conv3(width, width)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.conv_in(F.pixel_unshuffle(padded(picture, self.cell), self.cell))
        return x + self.conv(F.silu(x))


class Reference(Adapter):
    """Features of a reference, where the small picture is like it; layers that start at zero let them in."""

    name: ClassVar[str] = "reference"
    config_cls: ClassVar[type[AdapterConfig]] = ReferenceConfig
    takes_hint: ClassVar[bool] = False
    reads_small: ClassVar[bool] = True

    def __init__(self, config: ReferenceConfig, base: UNetConfig) -> None:
        super().__init__()
        if "low_res" not in base.inputs or base.pixel_channels != 3:
            raise ValueError(
                "this network is shown no small picture, or more than that, and a reference is compared with it: choose a "
                "stage that enlarges, such as sr256"
            )
        self.config, self.base = config, base
        layout = layout_of(base)
        self.points, self.multiple = scales_of(layout.points), layout.multiple
        finest = next(iter(self.points.values()))
        self.alike = Cells(finest.cell, config.width)
        self.texture = Cells(finest.cell, config.width)
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.joined = conv3(2 * config.width + 1, finest.width)
        self.scales, self.out = way_through(self.points, config.blocks)

    def told(self, given: Given) -> Signals:
        if given.combine not in (None, "concat"):
            raise ValueError("a texture is read where it lies, so that several references are combined by concat alone")
        small = padded(given.base.pixels.to(self.dtype), self.multiple)
        references = self._sized(given.picture.to(self.dtype))
        x = self.joined(self._read(self.alike(small), references, together=given.combine is not None))
        features = {}
        for (name, point), scale, out in zip(self.points.items(), self.scales, self.out, strict=True):
            x = scale(x)
            features[name] = out(x).flatten(2).mT if point.flat else out(x)
        return Signals(features=features)

    def _sized(self, pictures: Tensor) -> Tensor:
        """References no larger than asked for, at their own scale where they are not."""
        height, width = pictures.shape[-2:]
        share = min(1.0, self.config.most / max(height, width))
        return resize(pictures, (max(1, round(share * height)), max(1, round(share * width))))

    def _read(self, seen: Tensor, references: Tensor, *, together: bool) -> Tensor:
        """What each place (b c h w) is, what it reads of references (k 3 h w), and how alike that is: (b 2c+1 h w).

        together: every image reads all of them, else each its own.
        """
        keys, values = self.alike(self._blurred(references)), self.texture(references)
        keys, values = (rearrange(each, "k c h w -> k (h w) c") for each in (keys, values))
        if together:
            keys, values = (each.flatten(0, 1).expand(len(seen), -1, -1) for each in (keys, values))
        queries, keys = F.normalize(rearrange(seen, "b c h w -> b (h w) c"), dim=-1), F.normalize(keys, dim=-1)
        sought = queries * self.sharpness.exp()
        found = F.scaled_dot_product_attention(sought, keys, torch.cat([values, keys], -1), scale=1.0)  # b s 2c
        texture, likeness = found.chunk(2, dim=-1)
        likeness = (queries * likeness).sum(-1, keepdim=True)  # as TTSR's soft attention, of what was read
        read = rearrange(torch.cat([texture * likeness, likeness], -1), "b (h w) c -> b c h w", h=seen.shape[2])
        return torch.cat([seen, read], 1)

    def _blurred(self, references: Tensor) -> Tensor:
        """As a stage is shown a picture that is to be enlarged: shrunk, and grown again."""
        size = tuple(references.shape[-2:])
        return resize(resize(references, tuple(max(1, side // self.config.shrink) for side in size)), size)
