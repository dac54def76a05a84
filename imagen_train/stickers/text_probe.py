"""Does a text encoder know what a word means, and which of two things is left? Each checked synonym should lie nearest to
the thing it names; for the sides see `side_probe`.

By cosine between mean token embeddings, as sentence encoders are used; the U-Net reads more than the mean, so that this
is a floor. Shapes: n phrases, d text width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core import load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .names import things
from .side_probe import nouns_of, sides_read

SENTENCES = 2048  # by which it is asked which of two things is left


def phrase_vectors(encoder: T5TextEncoder, phrases: list[str], batch: int = 64) -> Tensor:
    """(n d), each of length one: the mean of a phrase's tokens."""
    rows = []
    for first in range(0, len(phrases), batch):
        encoded = encoder.encode(phrases[first : first + batch])
        weight = encoded.mask[..., None].float()
        rows.append((encoded.embeds * weight).sum(1) / weight.sum(1))
    return F.normalize(torch.cat(rows), dim=1)


def probe(folder: Path, base: Path | None = None) -> dict[str, object]:
    """Top 1 and top 5 of all listed synonyms among all listed things, and the misses: synonym -> (asked, found).

    sides: share of nouns whose token says on which side of another its thing lies (.5 is chance); sides_reread: the same as
    `base` rereads the tokens. ValueError for a base that does not.
    """
    vocabulary = things()
    encoder = load_text_encoder(folder)
    words = [(word, i) for i, thing in enumerate(vocabulary) for word in thing.words]
    names = phrase_vectors(encoder, [thing.noun for thing in vocabulary])
    near = (phrase_vectors(encoder, [word for word, _ in words]) @ names.T).topk(5, 1).indices.tolist()
    wanted = [i for _, i in words]
    missed = {
        word: (vocabulary[i].noun, vocabulary[found[0]].noun)
        for (word, i), found in zip(words, near, strict=True)
        if found[0] != i
    }
    return {
        "synonyms": len(words),
        "things": len(vocabulary),
        "top_1": sum(found[0] == i for found, i in zip(near, wanted, strict=True)) / len(words),
        "top_5": sum(i in found for found, i in zip(near, wanted, strict=True)) / len(words),
        **_sides(encoder, base),
        "missed": missed,
    }


def _sides(encoder: T5TextEncoder, base: Path | None, sentences: int = SENTENCES) -> dict[str, float]:
    found = {"sides": sides_read(nouns_of(encoder, sentences))}
    if base is None:
        return found
    reader = getattr(load_stage(base).unet, "text_reader", None)
    if reader is None:
        raise ValueError(f"{base} rereads no prompt (text_blocks of its network is 0): name another, or no --base")
    return found | {"sides_reread": sides_read(nouns_of(encoder, sentences, reader))}
