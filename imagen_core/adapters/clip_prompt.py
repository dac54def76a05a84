"""How does what a CLIP sees become part of the prompt? Its embedding as a few tokens and beside the time, its map as more.

One file is both an image prompt (IP-Adapter, arXiv 2308.06721, section 3.2) and what makes a base a decoder of embeddings
(unCLIP, arXiv 2204.06125, section 2.1): it is given a picture, seen by the CLIP's vision tower that lies in the file, or an
embedding alone, drawn by a prior, mixed, or moved.

Shapes: b images, e CLIP's common space, s positions of a map, l tokens, d their width, v the vector beside the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, Tokens
from ..unets import UNetConfig
from ._base import AdapterConfig, Given, starts_at_zero
from ._clip_sight import SeesAsClip, SightConfig, directions
from .image_prompt import COMBINE, ReadBeside, Resampler


@dataclass(frozen=True, kw_only=True)
class ClipPromptConfig(SightConfig):
    """Settings of `ClipPrompt`; the others are explained at `SightConfig`."""

    tiny: ClassVar[dict[str, Any]] = {
        **SightConfig.tiny,
        **{"tokens": 2, "embed_tokens": 2, "width": 16, "hidden": 16},
    }
    tokens: int = 8  # that the network reads of a picture's map
    embed_tokens: int = 4  # that it reads of an embedding
    width: int = 128  # of a token
    hidden: int = 512  # of what brings an embedding to its tokens, and these beside the time


class EmbedTokens(nn.Module):
    """An embedding's direction (b e) -> tokens (b l d)."""

    def __init__(self, config: ClipPromptConfig) -> None:
        super().__init__()
        self.tokens = config.embed_tokens
        self.in_layer = nn.Linear(config.embed_dim, config.hidden)
        self.out_layer = nn.Linear(config.hidden, config.embed_tokens * config.width)

    def forward(self, embeds: Tensor) -> Tensor:
        return self.out_layer(F.silu(self.in_layer(directions(embeds)))).unflatten(1, (self.tokens, -1))


class BesideTime(nn.Module):
    """What tokens (b l d) add beside the time, (b v), to what the prompt has put there: it knows what the prompt says."""

    def __init__(self, config: ClipPromptConfig, vector: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(config.embed_tokens * config.width + vector, config.hidden)
        self.out_layer = starts_at_zero(nn.Linear(config.hidden, vector))

    def forward(self, tokens: Tensor, before: Tensor) -> Tensor:
        return self.out_layer(F.silu(self.in_layer(torch.cat([tokens.flatten(1), before], dim=1))))


class ClipPrompt(SeesAsClip):
    """Tokens of an embedding, and of a picture's map where a picture is given; the null branch reads none of them.

    Where a mask says which part of a picture reads it, nothing goes beside the time, which has no place.
    """

    name: ClassVar[str] = "clip_prompt"
    config_cls: ClassVar[type[AdapterConfig]] = ClipPromptConfig

    def __init__(self, config: ClipPromptConfig, base: UNetConfig) -> None:
        super().__init__(config, base)
        self.layers = ReadBeside(config.width, base)
        self.embed = EmbedTokens(config)
        self.vector = BesideTime(config, base.embed_dim)
        self.resampler = None
        if config.tower_layers:
            self.resampler = Resampler(config.tower_width, config.width, config.tokens, config.places)

    def told(self, given: Given) -> Signals:
        embeds, seen = self.seen(given.picture.to(self.dtype))
        tokens = _normed(self.embed(embeds))  # k l d
        before = self._before(given, len(tokens))
        vector = self.vector(tokens, before)
        if seen is not None:
            tokens = torch.cat([tokens, _normed(self.resampler(seen))], dim=1)
        if given.combine is not None:
            count = len(given.kind)
            tokens = COMBINE[given.combine](tokens).expand(count, -1, -1)
            vector = vector.mean(0, keepdim=True).expand(count, -1)
        read = self.layers.read(tokens, given.weight_type, silent=given.null)
        vector = torch.zeros_like(vector) if given.null else vector
        if given.counting is None:
            return Signals(vector=vector, beside=(Tokens(keys_values=read),))
        return self._in_part(vector, read, given.counting)

    def _in_part(self, vector: Tensor, read: tuple[tuple[Tensor, Tensor], ...], counting: Tensor) -> Signals:
        """As training has it: of some images' pictures no map is read, of some nothing goes beside the time."""
        mapped, timed = counting.unbind(1)
        of_embed = torch.ones(self.config.embed_tokens, dtype=torch.bool, device=mapped.device)
        real = torch.cat([of_embed.expand(len(mapped), -1), mapped[:, None].expand(-1, self.config.tokens)], dim=1)
        return Signals(vector=vector * timed[:, None], beside=(Tokens(keys_values=read, mask=real),))

    def _before(self, given: Given, count: int) -> Tensor:
        """What stands beside the time already, one row a reference: (k v); zeros where nothing does."""
        vector = given.base.vector
        if vector is None:
            return torch.zeros(count, self.base.embed_dim, device=given.picture.device, dtype=self.dtype)
        rows = vector if len(vector) == count else vector[:1].expand(count, -1)
        return rows.to(given.picture.device, self.dtype)


def _normed(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])
