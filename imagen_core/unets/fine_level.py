"""How does a network with a coarse stem draw what is finer than its patches, without their grid showing?

Shapes: b batch, c h w a picture, p patch size, e time embedding, f fine channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals
from .attention import zeroed
from .blocks import ConvBlock, channel_norm, conv3, silu


class FineLevel(nn.Module):
    """Corrects a network's output at half its patch size, from the noisy picture, that output and its last features.

    Positions here overlap the patches' borders through 3x3 convolutions. It starts by changing nothing, so that it may
    be added to a trained network. point: what a control that adds to its features calls it.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        patch_size: int,
        features: int,
        width: int,
        blocks: int,
        embed: int,
        point: str = "fine",
    ) -> None:
        super().__init__()
        if patch_size % 2 or features % 4:
            raise ValueError(
                f"a fine level halves the patches and spreads features over four: patch_size {patch_size} must be even "
                f"and channels {features} a multiple of 4; leave fine_channels at 0 otherwise"
            )
        self.point, self.patch_size, self.cell = point, patch_size, patch_size // 2
        pixels = (in_channels + out_channels) * self.cell**2
        self.stem = conv3(pixels + features // 4, width)
        self.blocks = nn.ModuleList(ConvBlock(width, width, embed) for _ in range(blocks))
        self.head = zeroed(conv3(width, out_channels * self.cell**2))

    def forward(
        self, noisy: Tensor, drawn: Tensor, features: Tensor, embedding: Tensor, told: Signals
    ) -> tuple[Tensor, Tensor]:
        """Corrected patches (b c*p*p h/p w/p), and this level's own features (b width 2h/p 2w/p).

        noisy, drawn: patches (b c*p*p h/p w/p); features (b features h/p w/p); embedding (b e).
        """
        picture = F.pixel_shuffle(torch.cat([noisy, drawn], dim=1), self.patch_size)  # b 2c h w
        x = self.stem(torch.cat([F.pixel_unshuffle(picture, self.cell), F.pixel_shuffle(features, 2)], dim=1))
        x = told.added(self.point, x)
        for block in self.blocks:
            x = block(x, embedding)
        features = silu(channel_norm(x))
        change = F.pixel_shuffle(self.head(features), self.cell)  # b c h w
        return drawn + F.pixel_unshuffle(change, self.patch_size), features
