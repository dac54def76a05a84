"""How does a picture (edges, depth, a palette) steer a frozen network at every step? By a copy of its way down.

ControlNet (arXiv 2302.05543, section 3.1): the copy sees the hint besides x_t, and what it finds joins the network's skips
and middle through layers that start at zero. In a transformer it joins after each copied block (PixArt-delta, arXiv
2401.05252, section 4).

Shapes: b images, c h w a picture, p patch_size, e time embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, repeated
from ..unets import UNet, UNetConfig, build_unet
from ..unets.blocks import conv3
from ._base import Adapter, AdapterConfig, Given, kind_embedding, padded, starts_at_zero
from ._points import Point, layout_of

FINE = "fine"  # the point of a `FineLevel`, which lies on the way up: the copy has none, and the hint goes there itself


@dataclass(frozen=True, kw_only=True)
class ControlNetConfig(AdapterConfig):
    """Settings of `ControlNet`; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {"hint_width": 8, "fine_width": 8}
    hint_width: int = 32  # channels of the convolutions that read the hint
    depth: int | None = None  # of a transformer's blocks, how many are copied; None is all
    fine_width: int = 0  # of those that read it for a network's level of fine detail, where it has one; 0: none do


def way_down_of(network: UNet, depth: int | None) -> UNet:
    """The network without its way up, changed in place; of a transformer, only the first `depth` blocks."""
    for name in network.way_up:
        if getattr(network, name, None) is not None:
            setattr(network, name, nn.ModuleList())
    if depth is not None and hasattr(network, "transformer"):
        network.transformer = network.transformer[:depth]
    return network


class HintStem(nn.Module):
    """A hint (b 3 h w) as features (b channels h/p w/p): three convolutions, and one that starts at zero."""

    def __init__(self, patch_size: int, width: int, channels: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.layers = nn.ModuleList([conv3(3 * patch_size**2, width), conv3(width, width), conv3(width, 2 * width)])
        self.out = starts_at_zero(conv3(2 * width, channels))

    def forward(self, hint: Tensor) -> Tensor:
        x = F.pixel_unshuffle(hint, self.patch_size)  # b 3*p*p h/p w/p
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.out(x)


class ControlNet(Adapter):
    """Features at every skip, and at the middle or after each block, of what the copy makes of x_t, hint and prompt."""

    name: ClassVar[str] = "controlnet"
    config_cls: ClassVar[type[AdapterConfig]] = ControlNetConfig
    taken_over: ClassVar[str | None] = "copy"

    def __init__(self, config: ControlNetConfig, base: UNetConfig) -> None:
        super().__init__()
        self.config, self.base = config, base
        points = layout_of(base).points
        self.copy = way_down_of(build_unet(base), config.depth)
        entry = points[self.copy.stem_point]
        self.hint = HintStem(entry.cell, config.hint_width, entry.width)
        fine = points.get(FINE) if config.fine_width else None
        self.fine = None if fine is None else HintStem(fine.cell, config.fine_width, fine.width)
        self.kind = kind_embedding(config.kinds, base.embed_dim)
        self.joins = nn.ModuleDict({_key(name): _join(points[name]) for name in self._joined(points)})

    def _joined(self, points: dict[str, Point]) -> list[str]:
        """The points that the copy has something to say at."""
        blocks = len(getattr(self.copy, "transformer", ()))
        if blocks:
            return [name for name in points if name.startswith("skip.")] + [f"block.{n}" for n in range(blocks)]
        return [name for name in points if name.startswith("skip.") or name == "middle"]

    def begin_as(self, network: UNet) -> ControlNet:
        """The weights of the network that it is to steer, in its copy; returns itself."""
        theirs = network.state_dict()
        self.copy.load_state_dict({name: theirs[name] for name in self.copy.state_dict()})
        return self

    def told(self, given: Given) -> Signals:
        """The hint where the stem's output is and at the fine level, the kind beside the time, the prompt as the copy
        reads it.
        """
        hint = padded((given.picture.to(self.dtype) + 1.0) / 2.0, self.copy.multiple)
        kind = self.kind(given.kind)  # b e
        fine = {} if self.fine is None else {FINE: self.fine(hint)}
        told = Signals(
            vector=kind,
            features={self.copy.stem_point: self.hint(hint), **fine},
            pixels=given.base.pixels,
            aug_level=given.base.aug_level,
        )
        if given.text is not None:
            return told + self._read(given, len(hint))
        return told + Signals(vector=given.base.vector)  # a class, where the network draws classes

    def _read(self, given: Given, batch: int) -> Signals:
        embeds = given.text.to(given.text.embeds.device, None if self.copy.config.reads_ids else self.dtype)
        read = self.copy.encode_text(embeds)
        return read if len(embeds.embeds) == batch else repeated(read, batch)

    def at(self, x_t: Tensor, time: Tensor, told: Signals) -> Signals:
        found = self.copy.way_down(x_t.to(self.dtype), time, told)
        joined = {name: self.joins[_key(name)](found[name]) for name in self._joined(found)}
        return Signals(features=joined | {name: told.features[name] for name in (FINE,) if name in told.features})


def _key(point: str) -> str:
    """A point's name as a module's, which has no dots."""
    return point.replace(".", "_")


def _join(point: Point) -> nn.Module:
    layer = nn.Linear(point.width, point.width) if point.flat else nn.Conv2d(point.width, point.width, 1)
    return starts_at_zero(layer)
