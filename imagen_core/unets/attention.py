"""How does a picture read what it is told in words? One attention for every network: Imagen (2205.11487), appendix F.1.

Shapes: b batch, c h w a feature map, l text tokens, d text width, n attention heads, k head width, m keys (picture
positions, after the l text tokens if there are any).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, Tokens
from ..super_resolution import on_grid
from .group_norm import group_norm


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all parameters at zero, so that its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def split_heads(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(b m parts*n*k) -> `parts` views of (b n m k)."""
    return rearrange(projected, "b m (parts n k) -> parts b n m k", parts=parts, n=heads).unbind(0)


def attend(queries: Tensor, own: Sequence[Tensor], told: Signals, index: int) -> Tensor:
    """What queries (b n m k) read: (b m n*k). Text is joined before `own`, a layer's keys and values, or read alone.

    index: the layer's place in `Tokens.keys_values`; below 0 it reads neither text nor what is told beside it.
    """
    tokens = told.tokens if index >= 0 else None
    keys, values, mask = _joined_text(own, tokens, index) if tokens is not None else (*own, None)
    read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    for other in told.beside if index >= 0 else ():  # decoupled attention: IP-Adapter (arXiv 2308.06721, Eq. 5)
        keys, values = (part.to(queries.dtype) for part in other.keys_values[index])
        mask = None if other.mask is None else other.mask[:, None, None, :]
        beside = other.weight * F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        where = 1.0 if other.where is None else on_grid(other.where, queries.shape[2])[:, None].to(beside.dtype)
        read = read + where * beside
    return rearrange(read, "b n m k -> b m (n k)")


def _joined_text(own: Sequence[Tensor], tokens: Tokens, index: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """All keys and values (b n m k), and the mask (b 1 1 m) if any token is padding."""
    keys, values = tokens.keys_values[index]
    mask = None if tokens.mask is None else tokens.mask[:, None, None, :]  # b 1 1 l
    if own:
        mask = None if mask is None else F.pad(mask, (0, own[0].shape[2]), value=True)
        keys = torch.cat([keys.to(own[0].dtype), own[0]], dim=2)
        values = torch.cat([values.to(own[1].dtype), own[1]], dim=2)
    return keys, values, mask


def is_text_attention(module: nn.Module) -> bool:
    """Whether the module projects a prompt to keys and values of its own (`project_text`)."""
    return getattr(module, "text_index", -1) >= 0


def head_count(channels: int, per_head: int) -> int:
    """Attention heads of `per_head` channels each; ValueError when they do not come out even."""
    if channels % per_head:
        raise ValueError(f"{channels} channels attend, no multiple of per_head_channels={per_head}: change either")
    return channels // per_head


class Attention(nn.Module):
    """Attention of picture positions over themselves, over text, or over both joined (Imagen's base model).

    Joined: text keys/values are concatenated before self-attention's own. Text keys/values come ready in
    `Signals.tokens`, made once per prompt by `project_text`. norm_groups: see `group_norm`; text_norm: whether the text
    is normalised in as many groups of its own.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        inner: int,
        text_dim: int | None,
        text_index: int = -1,
        to_self: bool = True,
        norm_groups: int | None = None,
        norm_eps: float = 1e-5,
        text_norm: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.to_self = to_self
        self.text_index = text_index if text_dim is not None else -1
        self.norm = group_norm(channels, norm_groups, norm_eps)
        self.query = nn.Linear(channels, (3 if to_self else 1) * inner)  # queries, keys and values in one product
        self.text_norm = group_norm(text_dim, norm_groups) if text_norm else None
        self.text_keys_values = nn.Linear(text_dim, 2 * inner) if text_dim is not None else None
        self.out = zeroed(nn.Linear(inner, channels))

    def project_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (b l d) -> keys and values, each (b n l k)."""
        if self.text_norm is not None:
            tokens = self.text_norm(tokens.mT).mT
        keys, values = split_heads(self.text_keys_values(tokens), 2, self.heads)
        return keys, values

    def forward(self, x: Tensor, told: Signals) -> Tensor:
        b, c, h, w = x.shape
        # With channels_last memory this is a view, no copy.
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        queries, *own = split_heads(self.query(tokens), 3 if self.to_self else 1, self.heads)  # b n h*w k
        read = self.out(attend(queries, own, told, self.text_index))  # b h*w c
        return x + read.view(b, h, w, c).permute(0, 3, 1, 2)
