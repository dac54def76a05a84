"""How do numbers and whole prompts become the vector beside the time? (ADM, arXiv 2105.05233; Imagen, 2205.11487.)

Shapes: b batch, e time embedding, l text tokens, d text width, n attention heads, k head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import split_heads


def sinusoid(
    time: Tensor, width: int, *, max_period: float = 10_000.0, as_published: bool = False, freq_shift: int = 0
) -> Tensor:
    """Sinusoidal embedding of `time` (b,) in 0..1000 as (b, width), in float32: half precision blurs 999 and 1000.

    as_published: angles rounded as OpenAI's and diffusers' code rounds them; 999 times a rounding error can be seen.
    freq_shift: of that way, 1 where the slowest angle is time / max_period itself (DDPM), not one step before it.
    """
    half = width // 2
    steps = torch.arange(half, device=time.device, dtype=torch.float32)
    slope = -math.log(max_period)
    powers = slope * steps / (half - freq_shift) if as_published else steps * (slope / half)
    angles = time.float()[:, None] * torch.exp(powers)  # b width/2
    embedding = torch.cat([angles.cos(), angles.sin()], dim=1)  # b width
    return F.pad(embedding, (0, width - 2 * half))


class ScalarEmbedding(nn.Module):
    """A scalar (b,) in 0..1000 -> (b, e): sinusoid in float32, then a two-layer MLP."""

    def __init__(
        self,
        width: int,
        embed_dim: int,
        *,
        activation: Callable[[Tensor], Tensor] = F.silu,
        as_published: bool = False,
        freq_shift: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        self.freq_shift = freq_shift
        self.activation = activation
        self.as_published = as_published
        self.in_layer = nn.Linear(width, embed_dim)
        self.out_layer = nn.Linear(embed_dim, embed_dim)

    def forward(self, value: Tensor) -> Tensor:
        embedding = sinusoid(value, self.width, as_published=self.as_published, freq_shift=self.freq_shift)
        embedding = embedding.to(self.in_layer.weight.dtype)
        return self.out_layer(self.activation(self.in_layer(embedding)))


class TextPooling(nn.Module):
    """Attention pooling: `queries` learned queries read the tokens and are projected to one (b, e) vector.

    One query is the paper's pooling; several ("slots") let a small network read several facts at once.
    """

    def __init__(self, text_dim: int, embed_dim: int, queries: int) -> None:
        super().__init__()
        width = min(text_dim, embed_dim)
        self.heads = width // 64 if width % 64 == 0 else 1
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.keys_values = nn.Linear(text_dim, 2 * width)
        self.norm = nn.LayerNorm(queries * width)
        self.in_layer = nn.Linear(queries * width, embed_dim)
        self.out_layer = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (b l d), already layer-normed; mask (b l) bool -> (b e)."""
        batch = tokens.shape[0]
        keys, values = split_heads(self.keys_values(tokens), 2, self.heads)  # b n l k
        queries = self.queries.to(keys.dtype).unflatten(1, (self.heads, -1)).transpose(0, 1)  # n queries k
        pooled = F.scaled_dot_product_attention(
            queries.expand(batch, -1, -1, -1), keys, values, attn_mask=mask[:, None, None, :]
        )
        pooled = pooled.transpose(1, 2).reshape(batch, -1)  # b queries*width
        return self.out_layer(F.silu(self.in_layer(self.norm(pooled))))


class MeanPooling(nn.Module):
    """Attention pooling in which the tokens' mean asks, and they and it answer: (b l d) -> (b e) (DeepFloyd IF)."""

    def __init__(self, text_dim: int, embed_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_norm = nn.LayerNorm(text_dim)
        self.position = nn.Parameter(torch.randn(1, text_dim) / text_dim**0.5)
        self.query = nn.Linear(text_dim, text_dim)
        self.keys_values = nn.Linear(text_dim, 2 * text_dim)
        self.out_layer = nn.Linear(text_dim, embed_dim)
        self.out_norm = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (b l d); the mask (b l) is not looked at: pads are text, as published."""
        tokens = self.in_norm(tokens)
        mean = tokens.mean(dim=1, keepdim=True) + self.position  # b 1 d
        (query,) = split_heads(self.query(mean), 1, self.heads)  # b n 1 k
        keys, values = split_heads(self.keys_values(torch.cat([mean, tokens], dim=1)), 2, self.heads)  # b n 1+l k
        pooled = F.scaled_dot_product_attention(query, keys, values).flatten(1)  # b d
        return self.out_norm(self.out_layer(pooled))
