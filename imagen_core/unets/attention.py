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
    beside = told.beside if index >= 0 else ()
    if instead := [other for other in beside if other.instead]:
        keys, values, mask = _joined_mixture(own, [tokens, *instead], queries, index)
    elif tokens is not None:
        keys, values, mask = _joined_text(own, tokens, index)
    else:
        keys, values, mask = *own, None
    read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    for other in beside:  # decoupled attention: IP-Adapter (arXiv 2308.06721, Eq. 5)
        if other.instead:
            continue
        keys, values = (part.to(queries.dtype) for part in other.keys_values[index])
        mask = None if other.mask is None else other.mask[:, None, None, :]
        beside_text = other.weight * F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        where = 1.0 if other.where is None else on_grid(other.where, queries.shape[2])[:, None].to(beside_text.dtype)
        read = read + where * beside_text
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


def _joined_mixture(
    own: Sequence[Tensor], texts: Sequence[Tokens], queries: Tensor, index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_joined_text`, for a prompt and what is read in its place: keys, values, and what is added to the logits.

    That is the logarithm of each share, (b 1 m l) for m queries: a share multiplies what a token counts in the softmax,
    and what the others leave of 1 is the prompt's.
    """
    shares = [_share(other, index, queries.shape[2]) for other in texts[1:]]  # b 1 m 1, or of one query for all
    all_of_them = sum(shares)
    shares = [share / all_of_them.clamp(min=1.0) for share in shares]
    shares = [(1.0 - all_of_them).clamp(min=0.0), *shares]
    added = [_logits(text, share, queries.shape[2]) for text, share in zip(texts, shares, strict=True)]
    keys, values = ([text.keys_values[index][which].to(queries.dtype) for text in texts] for which in (0, 1))
    if own:
        added.append(added[0].new_zeros(*added[0].shape[:3], own[0].shape[2]))
        keys, values = [*keys, own[0]], [*values, own[1]]
    return torch.cat(keys, dim=2), torch.cat(values, dim=2), torch.cat(added, dim=3).to(queries.dtype)


def _share(tokens: Tokens, index: int, positions: int) -> Tensor:
    """How much of the prompt's place they take in this layer, in [0, 1]: (b 1 m 1), or (b 1 1 1) where it is alike."""
    keys = tokens.keys_values[index][0]
    weight = torch.as_tensor(tokens.weight, device=keys.device).float()
    weight = weight.expand(len(keys), 1, 1, 1) if weight.ndim else weight.view(1, 1, 1, 1).expand(len(keys), -1, -1, -1)
    weight = weight if tokens.layers is None else weight * tokens.layers[index]
    where = 1.0 if tokens.where is None else on_grid(tokens.where, positions)[:, None].float()
    return (weight * where).clamp(0.0, 1.0)


def _logits(tokens: Tokens, share: Tensor, positions: int) -> Tensor:
    """What is added to the logits of tokens that count by their share: (b 1 m l)."""
    added = share.log().expand(-1, -1, positions, tokens.length)
    return added if tokens.mask is None else added.masked_fill(~tokens.mask[:, None, None, :], float("-inf"))


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
