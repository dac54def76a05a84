"""Which parts of ADM's network read the time and the prompt? By its flags, for ADM and its relatives."""

from __future__ import annotations

from typing import Any

from torch import nn

from .blocks import ACTIVATIONS
from .embeddings import MeanPooling, ScalarEmbedding, TextPooling
from .text_transformer import LastToken, TextTransformer

Flags = Any  # an ADMConfig, whose file builds its network of these


def scalar_embedding(flags: Flags) -> ScalarEmbedding:
    return ScalarEmbedding(
        flags.time_width or flags.channels[0],
        flags.embed_dim,
        activation=ACTIVATIONS[flags.activation],
        as_published=flags.angles_as_published,
        freq_shift=flags.freq_shift,
    )


def text_projection(flags: Flags) -> nn.Linear | None:
    if flags.text_width is None or flags.text_embed_dim is None or flags.reads_ids:
        return None
    return nn.Linear(flags.text_embed_dim, flags.text_width)


def text_transformer(flags: Flags) -> TextTransformer | None:
    if not flags.reads_ids:
        return None
    return TextTransformer(
        vocabulary=flags.text_vocab,
        tokens=flags.text_tokens,
        width=flags.text_width,
        layers=flags.text_layers,
        heads=flags.text_heads,
    )


def text_pooling(flags: Flags) -> nn.Module | None:
    if flags.text_embed_dim is None or flags.text_pooling is None:
        return None
    if flags.text_pooling == "last":
        return LastToken(flags.text_inside, flags.embed_dim)
    if flags.text_pooling == "mean":
        return MeanPooling(flags.text_embed_dim, flags.embed_dim, flags.pooling_heads)
    return TextPooling(flags.text_embed_dim, flags.embed_dim, flags.pooling_queries)
