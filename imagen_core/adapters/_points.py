"""At which points does a network take features, and how wide and how coarse is it there? Asked of the network itself.

One forward pass on the meta device, where tensors have shapes and no contents, names them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from ..conditioning import Signals, TextEmbeds
from ..unets import UNet, UNetConfig, build_unet

TEXT_TOKENS = 77  # of the empty prompt that is asked with; some networks read exactly so many


@dataclass(frozen=True)
class Point:
    """Where features are added: `width` channels, one position for `cell` x `cell` pixels, in rows (b m c) if `flat`."""

    width: int
    cell: int
    flat: bool


@dataclass(frozen=True)
class Reader:
    """A layer that reads text, or what stands beside it: its heads, and the width of its keys and values."""

    heads: int
    width: int


@dataclass(frozen=True)
class Layout:
    """What an adapter must know of a network to be built for it."""

    points: dict[str, Point]  # in the order in which the network comes to them
    multiple: int  # pixels that its coarsest cell covers
    readers: tuple[Reader, ...]  # in the order of `Tokens.keys_values`


@dataclass(frozen=True, kw_only=True)
class _Listening(Signals):
    """Adds nothing, and remembers the shapes of what it was asked to add to."""

    shapes: dict[str, torch.Size] = field(default_factory=dict)

    def added(self, name: str, x: Tensor) -> Tensor:
        self.shapes[name] = x.shape
        return x


@lru_cache(maxsize=64)
def layout_of(config: UNetConfig) -> Layout:
    """Every point of a network of these settings. ValueError for one that goes no way down and up again."""
    # With gradients on, encode_text reads no mask, which on the meta device nobody could.
    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        network = build_unet(config).requires_grad_(False)
        if not network.way_up:
            raise ValueError(f"a {network.name} network takes no features on a way down, so that no control fits it")
        side = 2 * network.multiple
        x_t = torch.empty(1, config.in_channels, side, side)
        text = encoded_nothing(network)
        shown = torch.empty(1, config.pixel_channels, side, side)
        pixels = {"pixels": shown, "aug_level": torch.empty(1)} if config.pixel_channels else {}
        listening = _Listening(vector=text.vector, tokens=text.tokens, **pixels)
        network(x_t, torch.empty(1), listening)
    points = {name: _point(shape, side) for name, shape in listening.shapes.items()}
    return Layout(points=points, multiple=network.multiple, readers=_readers(text))


def _readers(text: Signals) -> tuple[Reader, ...]:
    pairs = () if text.tokens is None else text.tokens.keys_values  # of (b n l k)
    return tuple(Reader(heads=keys.shape[1], width=keys.shape[1] * keys.shape[3]) for keys, _ in pairs)


def encoded_nothing(network: UNet) -> Signals:
    """What a network makes of a prompt without meaning, for its shapes; nothing where it reads none."""
    width, length = network.config.text_embed_dim, network.config.text_length or TEXT_TOKENS
    if width is None:
        return Signals()
    return network.encode_text(
        TextEmbeds(embeds=torch.empty(1, length, width), mask=torch.ones(1, length, dtype=torch.bool))
    )


def _point(shape: torch.Size, side: int) -> Point:
    flat = len(shape) == 3
    positions = shape[1] if flat else math.prod(shape[2:])
    return Point(width=shape[2 if flat else 1], cell=side // math.isqrt(positions), flat=flat)
