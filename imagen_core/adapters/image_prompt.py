"""How does a picture become part of the prompt? As a few tokens that every layer that reads text reads beside it.

Decoupled attention (IP-Adapter, arXiv 2308.06721, section 3.2): the picture's keys and values have a softmax of their own,
and what is read of them is weighted and added. Unlike there, the encoder that sees the picture is small and part of the
file, so that nothing has to be downloaded.

Shapes: b images, c h w a map, s its positions, l tokens, d their width, n attention heads, k head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, Tokens
from ..super_resolution import resize
from ..unets import UNetConfig
from ..unets.attention import split_heads
from ..unets.blocks import channel_norm, conv3
from ._base import Adapter, AdapterConfig, Given, starts_at_zero
from ._layer_weights import layer_weights
from ._points import Reader, layout_of


@dataclass(frozen=True, kw_only=True)
class ImagePromptConfig(AdapterConfig):
    """Settings of `ImagePrompt`; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {"side": 16, "channels": (8, 8), "width": 16, "tokens": 2}
    kinds: tuple[str, ...] = ("picture",)
    side: int = 64  # pixels of the picture as the encoder sees it
    channels: tuple[int, ...] = (32, 64, 96, 128)  # of the encoder's convolutions, each of which halves the map
    tokens: int = 8  # that the network reads
    width: int = 128  # of a token


class Resampler(nn.Module):
    """Learned queries read a map, each finding what makes its token (Perceiver, as in Flamingo, arXiv 2204.14198)."""

    def __init__(self, channels: int, width: int, tokens: int, places: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.places = nn.Parameter(torch.randn(places, width) * 0.02)
        self.seen = nn.Linear(channels, width)
        self.query = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, seen: Tensor) -> Tensor:
        """A map (b c h w) -> tokens (b l d)."""
        places = self.seen(rearrange(seen, "b c h w -> b (h w) c")) + self.places  # b s d
        keys, values = self.keys_values(F.layer_norm(places, places.shape[-1:])).chunk(2, dim=-1)
        queries = self.queries.to(seen.dtype).expand(len(seen), -1, -1)
        tokens = queries + F.scaled_dot_product_attention(self.query(queries), keys, values)
        return tokens + self.mlp(F.layer_norm(tokens, tokens.shape[-1:]))


class KeysValues(nn.Module):
    """Tokens (b l d) as one layer's keys and values, each (b n l k); keys normalised, values zero at first."""

    def __init__(self, width: int, reader: Reader) -> None:
        super().__init__()
        self.heads = reader.heads
        self.keys = nn.Linear(width, reader.width, bias=False)
        self.values = starts_at_zero(nn.Linear(width, reader.width, bias=False))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        (keys,), (values,) = (split_heads(part(tokens), 1, self.heads) for part in (self.keys, self.values))
        return F.layer_norm(keys, keys.shape[-1:]), values


def _beside_each_other(tokens: Tensor) -> Tensor:
    return tokens.flatten(0, 1)[None]


def _mean(tokens: Tensor) -> Tensor:
    return tokens.mean(0, keepdim=True)


def _mean_of_their_length(tokens: Tensor) -> Tensor:
    """A mean of tokens that differ is shorter than they are, and says less."""
    return F.layer_norm(_mean(tokens), tokens.shape[-1:])


# How several references, (k l d), become one (1 l' d).
CONCAT = "concat"
COMBINE: dict[str, Callable[[Tensor], Tensor]] = {
    CONCAT: _beside_each_other,
    "average": _mean,
    "norm average": _mean_of_their_length,
}


class ReadBeside(nn.ModuleList):
    """Tokens (b l d) as the keys and values of every layer of a network that reads text. ValueError where none does."""

    def __init__(self, width: int, base: UNetConfig) -> None:
        readers = layout_of(base).readers
        if not readers:
            raise ValueError("this network reads no text, and an image prompt stands beside it: choose another base")
        super().__init__(KeysValues(width, reader) for reader in readers)

    def read(self, tokens: Tensor, weight_type: str, *, silent: bool = False) -> tuple[tuple[Tensor, Tensor], ...]:
        """Each layer's pair, each (b n l k); what is read is linear in the values, which are weighted, or 0 if `silent`."""
        weights = [0.0 if silent else weight for weight in layer_weights(weight_type, len(self))]
        pairs = (layer(tokens) for layer in self)
        return tuple(
            (keys, values if weight == 1.0 else weight * values)
            for (keys, values), weight in zip(pairs, weights, strict=True)
        )


class ImagePrompt(Adapter):
    """Tokens of a reference picture, read beside the text. The null branch reads those of no picture at all."""

    name: ClassVar[str] = "image_prompt"
    config_cls: ClassVar[type[AdapterConfig]] = ImagePromptConfig
    takes_hint: ClassVar[bool] = False

    def __init__(self, config: ImagePromptConfig, base: UNetConfig) -> None:
        super().__init__()
        self.config, self.base = config, base
        pairs = zip((3, *config.channels), config.channels, strict=False)
        self.encoder = nn.ModuleList(conv3(c_in, c_out, stride=2) for c_in, c_out in pairs)
        places = (config.side // 2 ** len(config.channels)) ** 2
        self.resampler = Resampler(config.channels[-1], config.width, config.tokens, places)
        self.layers = ReadBeside(config.width, base)

    def told(self, given: Given) -> Signals:
        picture = given.picture.to(self.dtype)
        tokens = self.resampler(self.seen(torch.zeros_like(picture) if given.null else picture))
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        if given.combine is not None:
            tokens = COMBINE[given.combine](tokens).expand(len(given.kind), -1, -1)
        return Signals(beside=(Tokens(keys_values=self.layers.read(tokens, given.weight_type)),))

    def seen(self, picture: Tensor) -> Tensor:
        """What the encoder sees of a picture (b 3 h w) in [-1, 1] of any size, of which its sides are made alike."""
        x = resize(picture, (self.config.side, self.config.side))
        for layer in self.encoder:
            x = F.silu(channel_norm(layer(x)))
        return x
