"""Which words can a caption of things be made of, and what cuts it into them? One id a word; unknown ones share one.

A vocabulary of whole words makes captions a dozen tokens long, and a word that no caption has is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import backdrops, captions, colors
from .names import regular_plural, things

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "<unk>"
_BLANK = re.compile(r"\{\w*\}")  # where a phrase takes its subject


def build_tokenizer(tier: int) -> Tokenizer:
    """The `tokenizers` object: lower case, words and punctuation marks apart, <unk> (id 0) for what captions never say.

    tier: up to which things are named, see `names.Thing`.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    cut = pre_tokenizers.Whitespace()
    words = sorted({word for phrase in _phrases(tier) for word, _ in cut.pre_tokenize_str(phrase.lower())})
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0} | {word: i for i, word in enumerate(words, 1)}, UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = cut
    return tokenizer


def _phrases(tier: int) -> Iterator[str]:
    """Everything that captions are put together from."""
    yield from _flat(captions.STYLE_PHRASES, captions.COUNTS, captions.RELATION_PHRASES, captions.SIZE_WORDS)
    yield from _flat(colors.WORDS, backdrops.SCENE_PHRASES)
    yield from (*backdrops.NAMES, "an and beside next to the some with grey wall background in front of on")
    for thing in (thing for thing in things() if thing.tier <= tier):
        yield from (thing.noun, thing.plural, *thing.words, *map(regular_plural, thing.words))


def _flat(*tables: Mapping[Any, Iterable[str]]) -> Iterator[str]:
    for table in tables:
        for phrases in table.values():
            yield from (_BLANK.sub(" ", phrase) for phrase in phrases)
