"""Does a noun's token say on which side its thing lies? By itself as a frozen encoder leaves it, and reread by a base.

Sentences of two things with a colour each, in every phrase for a relation that captions have; a linear map, fitted to three
quarters of them, tells the side from the noun's token, of the two that its relation leaves. Chance is a half.

Shapes: n tokens, d text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core.text.t5 import T5TextEncoder
from imagen_core.unets.text_reader import TextReader

from .captions import RELATION_PHRASES
from .colors import COLORS
from .names import things, with_article

RIDGE = 1.0  # what the fit adds to the squares of its weights


@dataclass(frozen=True)
class Nouns:
    """tokens (n d) of nouns, and where each thing lies (n,): twice its relation's number, one more for the second place."""

    tokens: Tensor
    side: Tensor


def nouns_of(encoder: T5TextEncoder, count: int, reader: TextReader | None = None, *, seed: int = 0) -> Nouns:
    """Of `count` sentences, as the encoder leaves them, normed as every layer reads them; or as `reader` does."""
    rng, ids = Random(seed), encoder.tokenizer.ids
    single = [thing.noun for thing in things() if len(ids(thing.noun)) == 1]
    first = len(encoder.network.config.prefix_ids)  # marks before the text
    tokens, sides, phrases = [], [], list(RELATION_PHRASES.items())
    for _ in range(-(-count // 256)):
        texts, places = [], []
        for _ in range(256):
            relation = rng.randrange(len(phrases))
            nouns, colors = rng.sample(single, 2), rng.sample(list(COLORS), 2)
            named = (with_article(f"{color} {noun}") for color, noun in zip(colors, nouns, strict=True))
            texts.append(rng.choice(phrases[relation][1]).format(**dict(zip("ab", named, strict=True))))
            read = ids(texts[-1])
            places.append([(first + read.index(ids(noun)[0]), 2 * relation + i) for i, noun in enumerate(nouns)])
        encoded = encoder.encode(texts)
        embeds = F.layer_norm(encoded.embeds.float(), encoded.embeds.shape[-1:])
        with torch.inference_mode():
            embeds = embeds if reader is None else reader(embeds, encoded.mask)
        tokens += [embeds[row, place] for row, each in enumerate(places) for place, _ in each]
        sides += [side for each in places for _, side in each]
    return Nouns(torch.stack(tokens), torch.tensor(sides))


def sides_read(nouns: Nouns) -> float:
    """Share of the last quarter whose side is told right of the two that are possible."""
    learned = len(nouns.side) * 3 // 4
    inputs = F.pad(nouns.tokens.double(), (0, 1), value=1.0)  # n d+1
    wanted = F.one_hot(nouns.side, 2 * len(RELATION_PHRASES)).double()
    known = inputs[:learned]
    square = known.mT @ known + RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
    found = inputs[learned:] @ torch.linalg.solve(square, known.mT @ wanted[:learned])
    side = nouns.side[learned:]
    both = found.unflatten(1, (-1, 2))[torch.arange(len(side)), side // 2]  # n 2
    return (both.argmax(1) == side % 2).double().mean().item()
