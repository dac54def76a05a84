"""How does a small network learn which word belongs to which place? By reading the prompt once more, as a whole.

A frozen encoder's token for "pear" says little of whether the pear is on the left: that takes the word between, and the
order. A few blocks over the prompt's tokens work it out before the picture's positions read them. They run once a prompt,
not once a step. (Lumina-Image 2.0, arXiv 2503.21758, refines its prompts by such blocks.)

Shapes: b prompts, l tokens, d text width, k width of the blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import head_count, zeroed
from .embeddings import sinusoid
from .text_transformer import TextBlock

HEAD = 64  # channels of an attention head


class TextReader(nn.Module):
    """reader(tokens (b l d), mask (b l)) -> (b l d): the tokens, and what they say together, which is nothing at first."""

    def __init__(self, text_dim: int, width: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Linear(text_dim, width)
        self.blocks = nn.ModuleList(TextBlock(width, head_count(width, HEAD)) for _ in range(blocks))
        self.out = zeroed(nn.Linear(width, text_dim))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (b l d), layer-normed; mask (b l) bool, True where a token is a word."""
        places = sinusoid(torch.arange(tokens.shape[1], device=tokens.device), self.into.out_features)  # l k
        x = self.into(tokens) + places.to(tokens.dtype)
        for block in self.blocks:
            x = block(x, mask)
        return tokens + self.out(F.layer_norm(x, x.shape[-1:]))
