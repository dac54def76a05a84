"""What tells one individual from another of its kind? A short code of a picture, of unit length, alike in all its scenes.

Shapes: b pictures, c h w a map, k the code's numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..super_resolution import resize
from ..unets.blocks import channel_norm, conv3


class CodeEncoder(nn.Module):
    """Convolutions at ever coarser maps; the mean and the largest of what they find anywhere become the code."""

    def __init__(self, side: int, channels: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.side = side
        self.stem = conv3(12, channels[0])
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.smaller = nn.ModuleList(conv3(c_in, c_out, stride=2) for c_in, c_out in pairs)
        self.further = nn.ModuleList(conv3(width, width) for width in channels[1:])
        self.code = nn.Linear(2 * channels[-1], code)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures (b 3 h w) in [-1, 1] of any size, whose sides are made alike -> (b k), each of length 1."""
        x = _active(self.stem(F.pixel_unshuffle(resize(picture, (self.side, self.side)), 2)))
        for smaller, further in zip(self.smaller, self.further, strict=True):
            x = _active(smaller(x))
            x = x + _active(further(x))
        x = x.flatten(2)
        return F.normalize(self.code(torch.cat([x.mean(2), x.amax(2)], dim=1)), dim=-1)


def _active(x: Tensor) -> Tensor:
    return F.silu(channel_norm(x))
