"""How does a picture become part of the prompt without a network learning to read it? As words that the network knows.

What a CLIP sees in it is translated to the tokens of a sentence, "a red fox, cartoon on a pink background", as the text
encoder would have embedded them (pseudo words, as Pic2Word has them: arXiv 2302.03084, section 3.2, here a sentence of
them). They go before the prompt's own tokens, and what the prompt says itself is left out of the sentence. As the network
reads text alone, nothing is trained through it.

Shapes: b images, k references, e CLIP's common space, l tokens, s slots of the sentence, d text width, c h w a map.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds
from ..unets import UNetConfig
from ._base import AdapterConfig, Given, starts_at_zero
from ._clip_sight import SeesAsClip, SightConfig, directions
from ._layer_weights import LINEAR, layer_weights
from .image_prompt import COMBINE

# The sentence's slots, by what they say: its first mark, everything that is to be seen, one of it alone (in the place of
# everything, where the prompt says how many), style, backdrop, its last mark.
SLOTS = {"first": 1, "all": 16, "one": 8, "style": 4, "backdrop": 6, "last": 1}
STATED = ("number", "style", "backdrop")  # what a prompt may say itself


def slots_of(name: str) -> slice:
    """Where the slots of a part of the sentence are."""
    start = sum(list(SLOTS.values())[: list(SLOTS).index(name)])
    return slice(start, start + SLOTS[name])


@dataclass(frozen=True, kw_only=True)
class PictureWordsConfig(SightConfig):
    """Settings of `PictureWords`; the others are explained at `SightConfig`."""

    tiny: ClassVar[dict[str, Any]] = {**SightConfig.tiny, "width": 16, "blocks": 1, "heads": 1}
    width: int = 192  # of what asks the picture for each word
    blocks: int = 2  # in which it asks
    heads: int = 3  # of their attention


@dataclass(frozen=True)
class Sentence:
    """What a picture says: tokens (k s d), and how sure it is that each is there, logits (k s)."""

    tokens: Tensor
    there: Tensor


class Asking(nn.Module):
    """Slots (k s w) ask what is seen (k m w), then each is worked on by itself (Perceiver, arXiv 2103.03206)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.keys_values = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, slots: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
        """mask (k m) bool: what may be read; None: all."""
        split = lambda x: rearrange(x, "k m (n w) -> k n m w", n=self.heads)
        keys, values = self.keys_values(seen).chunk(2, dim=-1)
        query = self.query(F.layer_norm(slots, slots.shape[-1:]))
        readable = None if mask is None else mask[:, None, None, :]
        read = F.scaled_dot_product_attention(split(query), split(keys), split(values), attn_mask=readable)
        slots = slots + self.out(rearrange(read, "k n m w -> k m (n w)"))
        return slots + self.mlp(slots)


class PictureWords(SeesAsClip):
    """The prompt with a picture's sentence before it, read in the prompt's place; the null branch reads its own alone."""

    name: ClassVar[str] = "picture_words"
    config_cls: ClassVar[type[AdapterConfig]] = PictureWordsConfig

    def __init__(self, config: PictureWordsConfig, base: UNetConfig) -> None:
        super().__init__(config, base)
        if base.text_embed_dim is None or base.reads_ids:
            raise ValueError(
                "this network reads no embedded text, and a picture's words go before it: choose another base"
            )
        width, count = config.width, sum(SLOTS.values())
        self.slots = nn.Parameter(torch.randn(count, width) / width**0.5)
        self.of_embed = nn.Sequential(nn.Linear(config.embed_dim, width), nn.GELU(), nn.Linear(width, width))
        self.of_map = nn.Linear(config.tower_width, width) if config.tower_layers else None
        self.places = nn.Parameter(torch.randn(config.places, width) * 0.02) if config.tower_layers else None
        self.asking = nn.ModuleList(Asking(width, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.tokens = nn.Linear(width, base.text_embed_dim)
        self.there = starts_at_zero(nn.Linear(width, 1))  # it says nothing at first
        self.stated = nn.Sequential(nn.Linear(base.text_embed_dim, 64), nn.GELU(), nn.Linear(64, len(STATED)))

    def sentence(self, embeds: Tensor, seen: Tensor | None, *, mapped: Tensor | None = None) -> Sentence:
        """What embeddings (k e) say, and maps (k c h w) besides. mapped (k,) bool, in training: whose map is read."""
        read, mask = self.of_embed(directions(embeds))[:, None], None
        if seen is not None:
            places = F.layer_norm(rearrange(seen, "k c h w -> k (h w) c"), seen.shape[1:2])
            read = torch.cat([read, self.of_map(places) + self.places], dim=1)
            if mapped is not None:
                mask = F.pad(mapped[:, None].expand(-1, read.shape[1] - 1), (1, 0), value=True)
        slots = self.slots.to(read.dtype).expand(len(read), -1, -1)
        for block in self.asking:
            slots = block(slots, read, mask)
        slots = self.norm(slots)
        return Sentence(self.tokens(slots), self.there(slots)[..., 0])

    def states(self, text: TextEmbeds) -> Tensor:
        """How sure it is that a prompt says how many, in which style, before what: logits (b 3), see STATED."""
        real = text.mask.to(text.embeds.device)[..., None].to(self.dtype)
        tokens = F.layer_norm(text.embeds.to(self.dtype), text.embeds.shape[-1:])
        return self.stated((tokens * real).sum(1) / real.sum(1).clamp(min=1.0))

    def told(self, given: Given) -> Signals:
        if given.read is None or given.text is None:
            raise ValueError("a picture's words go before a prompt, and this network was given none: give it a prompt")
        said = self.sentence(*self.seen(given.picture.to(self.dtype)))
        tokens, there = said.tokens, said.there > 0
        if not bool(there.any()):  # in every branch
            return Signals()
        if given.combine is not None:
            tokens, there = _as_one(tokens, there, given.combine)
        count = len(given.kind)
        text = _rows(given.text, count)
        there = there.expand(count, -1) & self._left_out(text, tokens.shape[1])
        return self._in_its_place(given.read(_before(tokens.expand(count, -1, -1), there, text)), given)

    def _left_out(self, text: TextEmbeds, length: int) -> Tensor:
        """Which slots the prompt leaves to the picture, (b s), for each of several sentences."""
        number, style, backdrop = (self.states(text) > 0).unbind(1)
        says = {"all": ~number, "one": number, "style": ~style, "backdrop": ~backdrop}
        always = torch.ones_like(number)
        kept = torch.stack([says.get(name, always) for name, size in SLOTS.items() for _ in range(size)], dim=1)
        return kept.repeat(1, length // kept.shape[1])

    def _in_its_place(self, read: Signals, given: Given) -> Signals:
        """What the network reads of both, as what counts in the place of the prompt by itself: not at all if null."""
        count, tokens = len(given.kind), read.tokens
        weight = tokens.keys_values[0][0].new_full((count, 1, 1, 1), 0.0 if given.null else 1.0)
        mask = tokens.mask
        if mask is None:
            mask = torch.ones(count, tokens.length, dtype=torch.bool, device=weight.device)
        layers = (
            None if given.weight_type == LINEAR else tuple(layer_weights(given.weight_type, len(tokens.keys_values)))
        )
        beside = dataclasses.replace(tokens, mask=mask, weight=weight, instead=True, layers=layers)
        vector = None
        if read.vector is not None and given.base.vector is not None:
            vector = (read.vector - given.base.vector.to(read.vector)) * weight.view(-1, 1)
        return Signals(vector=vector, beside=(beside,))


def _as_one(tokens: Tensor, there: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """Several sentences (k s d) as one: (1 l d) and which of its tokens are there, (1 l)."""
    combined = COMBINE[how](tokens)
    if combined.shape[1] == tokens.shape[1]:
        return combined, there.float().mean(0, keepdim=True) >= 0.5
    return combined, there.flatten()[None]


def _rows(text: TextEmbeds, count: int) -> TextEmbeds:
    """One row an image."""
    if len(text.mask) == count:
        return text
    return TextEmbeds(embeds=text.embeds[:1].expand(count, -1, -1), mask=text.mask[:1].expand(count, -1))


def _before(tokens: Tensor, there: Tensor, text: TextEmbeds) -> TextEmbeds:
    """Those tokens (b s d) that are there, and the text's behind them, without gaps: networks count places."""
    embeds = torch.cat([tokens.to(text.embeds), text.embeds], dim=1)
    real = torch.cat([there, text.mask.to(there.device)], dim=1)  # b l
    order = (~real).int().argsort(dim=1, stable=True)[:, : max(1, int(real.sum(1).max()))]
    embeds = embeds.gather(1, order[..., None].expand(-1, -1, embeds.shape[-1]))
    return TextEmbeds(embeds=embeds, mask=real.gather(1, order))
