"""How does a picture steer a network cheaply? By features made of it once, added on the way down at every scale.

T2I-Adapter (arXiv 2302.08453, section 3.3): they join the stream and the skip alike, see neither x_t nor the time, and so
cost nothing at each step.

Shapes: b images, c h w a picture, u the finest cell's side in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from ..unets import UNetConfig
from ..unets.blocks import conv3
from ._base import Adapter, AdapterConfig, Given, kind_embedding, padded, starts_at_zero
from ._points import Point, layout_of


@dataclass(frozen=True, kw_only=True)
class T2IAdapterConfig(AdapterConfig):
    """Settings of `T2IAdapter`; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {"blocks": 1}
    blocks: int = 2  # residual blocks a scale


def scales_of(points: dict[str, Point]) -> dict[str, Point]:
    """One point a scale, finest first: the last on the way down, where a network halves its map next."""
    found = {
        point.cell: name
        for name, point in points.items()
        if name.startswith("down.") or name in ("tokens", "fine", "finest")  # a U-ViT's positions, and its fine levels
    }
    return {found[cell]: points[found[cell]] for cell in sorted(found)}


class AdapterBlock(nn.Module):
    """conv 3x3, ReLU, conv 1x1, plus its input; without norms, so that strength is linear in what is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block1 = conv3(width, width)
        self.block2 = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block2(F.relu(self.block1(x)))


class Scale(nn.Module):
    """The map shrunk by area to a scale's cells, brought to its width, and its blocks."""

    def __init__(self, shrink: int, c_in: int, width: int, blocks: int) -> None:
        super().__init__()
        self.shrink = shrink
        self.in_conv = nn.Conv2d(c_in, width, 1) if c_in != width else nn.Identity()
        self.blocks = nn.ModuleList(AdapterBlock(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(F.avg_pool2d(x, self.shrink) if self.shrink > 1 else x)
        for block in self.blocks:
            x = block(x)
        return x


def way_through(points: Mapping[str, Point], blocks: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """From the finest of some points to the coarsest: a `Scale` for each, and what brings it there, zero at first."""
    cells, widths = zip(*((point.cell, point.width) for point in points.values()), strict=True)
    shrinks = [1, *(coarse // fine for fine, coarse in pairwise(cells))]
    scales = nn.ModuleList(
        Scale(shrink, c_in, width, blocks)
        for shrink, c_in, width in zip(shrinks, [widths[0], *widths[:-1]], widths, strict=True)
    )
    return scales, nn.ModuleList(starts_at_zero(nn.Conv2d(width, width, 1)) for width in widths)


class T2IAdapter(Adapter):
    """Features at the last point of each scale, made once from the hint; layers that start at zero let them in."""

    name: ClassVar[str] = "t2i_adapter"
    config_cls: ClassVar[type[AdapterConfig]] = T2IAdapterConfig

    def __init__(self, config: T2IAdapterConfig, base: UNetConfig) -> None:
        super().__init__()
        self.config, self.base = config, base
        layout = layout_of(base)
        self.points, self.multiple = scales_of(layout.points), layout.multiple
        finest = next(iter(self.points.values()))
        self.finest = finest.cell
        self.conv_in = conv3(3 * self.finest**2, finest.width)
        self.kind = kind_embedding(config.kinds, finest.width)
        self.scales, self.out = way_through(self.points, config.blocks)

    def told(self, given: Given) -> Signals:
        hint = padded((given.picture.to(self.dtype) + 1.0) / 2.0, self.multiple)
        maps = self.features(hint, given.kind)
        return Signals(
            features={
                name: out(x).flatten(2).mT if point.flat else out(x)
                for (name, point), out, x in zip(self.points.items(), self.out, maps, strict=True)
            }
        )

    def features(self, hint: Tensor, kind: Tensor) -> list[Tensor]:
        """hint (b 3 h w) in [0, 1], of whole cells, kind (b,) -> a map (b c h/cell w/cell) a scale."""
        x = self.conv_in(F.pixel_unshuffle(hint, self.finest)) + self.kind(kind)[:, :, None, None]
        found = []
        for scale in self.scales:
            x = scale(x)
            found.append(x)
        return found
