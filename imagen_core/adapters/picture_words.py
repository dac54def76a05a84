"""How does a picture become part of the prompt without a network learning to read it? As words that the network knows.

What a CLIP sees in it is told part by part, each from a list of phrases whose tokens lie in the file as the text encoder
embeds them: "two" "red" "fox" ", cartoon" "on a pink background". The tokens are a mean of all phrases, weighed by how well
each fits (pseudo words, as Pic2Word has them, arXiv 2302.03084, from a list). They go before the prompt's own tokens; what
the prompt says itself is left out. As the network reads text alone, nothing is trained through it.

Shapes: b images, k references, e CLIP's common space, l tokens, n phrases of a part, s tokens of a phrase, d text width,
c h w a map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
from .image_prompt import CONCAT

PARTS = ("number", "color", "thing", "style", "backdrop")  # of what is told, in this order; each a setting
STATED = ("number", "style", "backdrop")  # what a prompt may say itself
ALONE = 0  # of the numbers, the one that stands where the prompt says how many
SHARPER = 2.0  # how much less is told of phrases that fit second, than they are likely


@dataclass(frozen=True, kw_only=True)
class PictureWordsConfig(SightConfig):
    """Settings of `PictureWords`; the others are explained at `SightConfig`."""

    tiny: ClassVar[dict[str, Any]] = {
        **SightConfig.tiny,
        **{"hidden": 16, "number": (2, 1), "color": (3, 1), "thing": (4, 2), "style": (2, 2), "backdrop": (2, 3)},
    }
    hidden: int = 384  # of what it sees, before it is told
    number: tuple[int, int] = (5, 2)  # phrases that say how many, and the tokens of the longest
    color: tuple[int, int] = (13, 2)  # the same of colours
    thing: tuple[int, int] = (600, 5)  # of things
    style: tuple[int, int] = (3, 4)  # of styles
    backdrop: tuple[int, int] = (24, 6)  # of backdrops


class Phrases(nn.Module):
    """A part of what is told: how well each phrase fits, and what their tokens are."""

    def __init__(self, hidden: int, count: int, length: int, width: int) -> None:
        super().__init__()
        self.fit = starts_at_zero(nn.Linear(hidden, count))
        self.tokens = starts_at_zero(nn.Embedding(count * length, width)).requires_grad_(False)
        self.register_buffer("there", torch.zeros(count, length))  # 1 where a phrase has a token

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (k n)."""
        return self.fit(hidden)

    def told(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (k s d), and whether each is there, (k s) bool."""
        shares = (SHARPER * logits.float()).softmax(1).to(self.there)
        there = shares @ self.there
        tokens = torch.einsum("kn,nsd->ksd", shares, self.phrases)
        return tokens / there.clamp(min=0.5)[..., None], there > 0.5

    @property
    def phrases(self) -> Tensor:
        """(n s d), zeros where a phrase has no token."""
        return self.tokens.weight.view(*self.there.shape, -1) * self.there[..., None]

    def knows(self, phrases: Sequence[Tensor]) -> None:
        """Take over phrases (s d), in order; those that are longer than it has room for lose their ends."""
        with torch.no_grad():
            room = self.phrases.clone().zero_()
            for row, phrase in enumerate(phrases):
                length = min(len(phrase), room.shape[1])
                room[row, :length] = phrase[:length].to(room)
                self.there[row, :length] = 1.0
            self.tokens.weight.copy_(room.flatten(0, 1))
        self.tokens.requires_grad_(False)


class PictureWords(SeesAsClip):
    """The prompt with a picture's words before it, read in the prompt's place; the null branch reads its own alone."""

    name: ClassVar[str] = "picture_words"
    config_cls: ClassVar[type[AdapterConfig]] = PictureWordsConfig
    # Its tower learns on; embeddings are still those of the CLIP that it began as.
    frozen: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: PictureWordsConfig, base: UNetConfig) -> None:
        super().__init__(config, base)
        width = base.text_embed_dim
        if width is None or base.reads_ids:
            raise ValueError(
                "this network reads no embedded text, and a picture's words go before it: choose another base"
            )
        self.of_embed = nn.Linear(config.embed_dim, config.hidden)
        self.of_map = nn.Linear(config.tower_width * config.places, config.hidden) if config.tower_layers else None
        self.more = nn.Linear(config.hidden, config.hidden)
        self.parts = nn.ModuleDict({name: Phrases(config.hidden, *getattr(config, name), width) for name in PARTS})
        self.register_buffer("marks", torch.zeros(2, width))  # before the words, and behind them
        self.register_buffer("marked", torch.zeros(2))  # 1 where the text encoder has such a mark
        self.stated = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, len(STATED)))

    def logits(self, embeds: Tensor, seen: Tensor | None, *, mapped: Tensor | None = None) -> dict[str, Tensor]:
        """How well each phrase fits, part by part, (k n), for embeddings (k e), and maps (k c h w) besides.

        mapped (k,) bool, in training: whose map is looked at.
        """
        hidden = self.of_embed(directions(embeds))
        if seen is not None:
            places = F.layer_norm(rearrange(seen, "k c h w -> k (h w) c"), seen.shape[1:2])
            of_map = self.of_map(places.flatten(1))
            hidden = hidden + (of_map if mapped is None else of_map * mapped[:, None])
        hidden = F.gelu(hidden)
        hidden = hidden + F.gelu(self.more(F.layer_norm(hidden, hidden.shape[-1:])))
        return {name: part(hidden) for name, part in self.parts.items()}

    def states(self, text: TextEmbeds) -> Tensor:
        """How sure it is that a prompt says how many, in which style, before what: logits (b 3), see STATED."""
        real = text.mask.to(text.embeds.device)[..., None].to(self.dtype)
        tokens = F.layer_norm(text.embeds.to(self.dtype), text.embeds.shape[-1:])
        return self.stated((tokens * real).sum(1) / real.sum(1).clamp(min=1.0))

    def told(self, given: Given) -> Signals:
        if given.read is None or given.text is None:
            raise ValueError("a picture's words go before a prompt, and this network was given none: give it a prompt")
        if not bool(self.marked.any() or self.parts["thing"].there.any()):  # nobody has taught it a word
            return Signals()
        logits = self.logits(*self.seen(given.picture.to(self.dtype)))
        count = len(given.kind)
        text = _rows(given.text, count)
        stated = dict(zip(STATED, (self.states(text) > 0).unbind(1), strict=True))
        told = [self._words(each, stated) for each in _one_each(logits, given.combine, count)]
        tokens, there = (torch.cat(part, dim=1) for part in zip(*told, strict=True))
        return self._in_its_place(given.read(_before(tokens, there, text)), given)

    def _words(self, logits: dict[str, Tensor], stated: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens (b l d) and which of them are there, (b l): what the prompts do not say."""
        count = len(stated["style"])
        parts = [self._mark(0, count)]
        for name, part in self.parts.items():
            tokens, there = part.told(logits[name])
            if name == "number":  # where the prompt says how many, it is told as one
                says = stated[name][:, None]
                tokens = torch.where(says[..., None], part.phrases[ALONE], tokens)
                there = torch.where(says, part.there[ALONE] > 0.5, there)
            elif name in stated:
                there = there & ~stated[name][:, None]
            parts.append((tokens, there))
        parts.append(self._mark(1, count))
        tokens, there = zip(*parts, strict=True)
        return torch.cat(tokens, dim=1), torch.cat(there, dim=1)

    def _mark(self, which: int, count: int) -> tuple[Tensor, Tensor]:
        return self.marks[which].expand(count, 1, -1), (self.marked[which] > 0.5).expand(count, 1)

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


def _one_each(logits: dict[str, Tensor], combine: str | None, count: int) -> list[dict[str, Tensor]]:
    """What is told of an image, in order, each `count` rows: its own reference, all of them, or what they share."""
    if combine is None:
        return [logits]
    if combine != CONCAT:
        logits = {name: rows.mean(0, keepdim=True) for name, rows in logits.items()}
    references = len(logits["thing"])
    return [{name: rows[i].expand(count, -1) for name, rows in logits.items()} for i in range(references)]


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
