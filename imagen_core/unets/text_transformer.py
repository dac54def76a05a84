"""How does a network read a prompt itself, from token ids? With a transformer that was trained as a part of it.

GLIDE's (arXiv 2112.10741, section 3; unCLIP's decoder has another of its kind): no mask, not even at padding, where a row
that was trained for that place stands instead of a word.

Shapes: b prompts, l tokens, k width, n attention heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import split_heads


class TextBlock(nn.Module):
    """A pre-norm block: every token reads every token, then an MLP four times as wide with exact GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wider, self.narrower = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (b l k) -> (b l k). mask (b l) bool: which tokens may be read; None: all."""
        q, k, v = split_heads(self.query(self.attention_norm(x)), 3, self.heads)  # b n l k/n
        readable = None if mask is None else mask[:, None, None, :]
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, readable).transpose(1, 2).flatten(2))  # b l k
        return x + self.narrower(F.gelu(self.wider(self.mlp_norm(x))))


class TextTransformer(nn.Module):
    """transformer(ids (b l), mask (b l)) -> (b l k), under its final norm; l is `tokens`, always."""

    def __init__(self, *, vocabulary: int, tokens: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(tokens, width) * 0.01)
        self.padding = nn.Parameter(torch.randn(tokens, width) * 0.01)  # in the place of a word and its place
        self.blocks = nn.ModuleList([TextBlock(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids (b l), whole numbers of any type; mask (b l) bool, True where a token is a word."""
        places, padding = (rows.to(ids.device) for rows in (self.places, self.padding))
        x = torch.where(mask[..., None], self.words(ids.long()) + places, padding)  # b l k
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class LastToken(nn.Module):
    """What the text's last place says, taken to the time's embedding: (b l k) -> (b e). Mostly it is padding."""

    def __init__(self, text_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.out_layer = nn.Linear(text_dim, embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (b l k); the mask (b l) is not looked at."""
        return self.out_layer(tokens[:, -1])
