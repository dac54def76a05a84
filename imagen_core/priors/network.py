"""What does a diffusion prior compute? A causal transformer predicts a picture's CLIP embedding (unCLIP, arXiv 2204.06125).

Its sequence is the text's tokens, the text's vector, the time, the noisy embedding, and a learned query whose answer is the
prediction. Text comes first and each position reads those before it alone: what stands for a prompt is computed once, and a
step adds three positions.

Shapes: b batch, l text tokens, d width of the text encoder, e CLIP's common space, w width inside, n heads, k head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, Tokens
from ..unets.attention import split_heads
from ..unets.embeddings import ScalarEmbedding

STEP = 3  # positions of a step: time, noisy embedding, query


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Settings of `PriorNetwork`; the defaults are Karlo v1.0.alpha's."""

    embed_dim: int = 768  # of CLIP's common space, in which pictures and pooled texts lie
    text_embed_dim: int = 768  # width of the text encoder
    text_tokens: int = 77  # of a prompt, no more and no fewer
    width: int = 2048  # of a position inside
    depth: int = 20  # blocks
    heads: int = 32  # of attention, each width / heads wide

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1 or self.width % self.heads:
            raise ValueError(f"every number of a prior must be positive, and width a multiple of heads: {self}")


class Block(nn.Module):
    """Attention and MLP, each on a norm of its own."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.heads, width = config.heads, config.width
        self.in_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, 3 * width)  # queries, keys and values in one product
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, before: tuple[Tensor, Tensor] | None, mask: Tensor) -> tuple[Tensor, Any]:
        """x (b l w), read after `before`, under mask (b|1 1 l all) -> the same, and its keys and values (b n l k)."""
        queries, keys, values = split_heads(self.query(self.in_norm(x)), 3, self.heads)  # b n l k
        own = (keys, values)
        if before is not None:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(before, own, strict=True))
        read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        x = x + self.out(rearrange(read, "b n l k -> b l (n k)"))
        return x + self.mlp(self.mlp_norm(x)), own


class PriorNetwork(nn.Module):
    """network(z_t (b e), timestep (b,) in 0..999, told) -> z_0 (b e), normalised: see `to_clip`."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.text_projection = nn.Linear(config.text_embed_dim, width)
        self.pooled_projection = nn.Linear(config.embed_dim, width)
        self.time_embedding = ScalarEmbedding(width, width, as_published=True)
        self.stem = nn.Linear(config.embed_dim, width)
        self.question = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(torch.zeros(config.text_tokens + 1 + STEP, width))
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.head_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.embed_dim)
        self.register_buffer("clip_mean", torch.zeros(config.embed_dim))
        self.register_buffer("clip_std", torch.ones(config.embed_dim))

    def encode_text(self, text: TextEmbeds) -> Signals:
        """A prompt's keys and values in every layer, once for all steps: text.embeds (b l d), text.pooled (b e).

        Raises ValueError for text of another width or length, or without `pooled`.
        """
        self._check(text)
        dtype = self.head.weight.dtype
        parts = self.text_projection(text.embeds.to(dtype)), self.pooled_projection(text.pooled.to(dtype))[:, None]
        x = torch.cat(parts, dim=1) + self.position[:-STEP]  # b l+1 w
        real = F.pad(text.mask, (0, 1), value=True)  # b l+1
        mask = _causal(x.shape[1], x.device) & real[:, None, None, :]
        pairs = []
        for block in self.blocks:
            x, own = block(x, None, mask)
            pairs.append(own)
        return Signals(tokens=Tokens(keys_values=tuple(pairs), mask=real))

    def _check(self, text: TextEmbeds) -> None:
        config = self.config
        if text.pooled is None:
            raise ValueError(
                "a prior reads a prompt's vector in CLIP's common space besides its tokens: use the text encoder that it "
                "was trained with, CLIP ViT-L/14 for Karlo's, with its projection"
            )
        found = (*text.embeds.shape[1:], text.pooled.shape[-1])
        wanted = (config.text_tokens, config.text_embed_dim, config.embed_dim)
        if found != wanted:
            raise ValueError(
                f"the prompt is {found[0]} tokens {found[1]} wide with a vector {found[2]} wide, and this prior reads "
                f"{wanted[0]}, {wanted[1]} and {wanted[2]}: use the text encoder that it was trained with"
            )

    def forward(self, z_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        tokens = told.tokens
        parts = self.time_embedding(time), self.stem(z_t), self.question.expand(len(z_t), -1)
        x = torch.stack(parts, dim=1) + self.position[-STEP:]  # b 3 w
        before = tokens.mask[:, None, None, :].expand(-1, 1, STEP, -1)
        own = _causal(STEP, x.device).expand(len(z_t), 1, -1, -1)
        mask = torch.cat([before, own], dim=-1)  # b 1 3 l+1+3
        for block, pair in zip(self.blocks, tokens.keys_values, strict=True):
            x, _ = block(x, pair, mask)
        return self.head(self.head_norm(x[:, -1]))

    def to_clip(self, z_0: Tensor) -> Tensor:
        """Normalised embeddings (b e) as CLIP's own projection gives them."""
        return z_0 * self.clip_std.to(z_0) + self.clip_mean.to(z_0)


def _causal(length: int, device: torch.device) -> Tensor:
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
