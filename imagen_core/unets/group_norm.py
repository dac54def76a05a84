"""How are large pictures normalised in groups without losing digits? (torch's CPU kernel for channels_last loses them.)

That kernel adds up all positions of a channel, and their squares, one after the other in float32: of a 256x256 picture it
is off by 1e-4 and more, as much as a real mistake. Here sums run over tiles of the picture, and tiles are joined in float64.

Shapes: b batch, c h w a feature map, g groups, t tiles of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TILE = 1024  # positions that are summed up in float32; fewer are more exact, and slower
EXACT_UP_TO = 64 * 64  # positions up to which torch's own kernel is exact enough (2e-5), and faster


def norm_groups(channels: int) -> int:
    """Largest divisor of `channels` up to 32 that leaves at least four channels a group (or one group)."""
    return next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)


def group_norm(channels: int, groups: int | None = None, eps: float = 1e-5) -> nn.GroupNorm:
    """torch's own norm in `norm_groups` groups; in as many as asked for, the one that keeps its digits."""
    if groups is None:
        return nn.GroupNorm(norm_groups(channels), channels, eps=eps)
    return GroupNorm(groups, channels, eps=eps)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm, which may be followed by a scale and shift for each picture and channel, (b c 1 1)."""

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        if self._loses_digits(x):
            return self._by_tiles(x, scale, shift)
        x = super().forward(x)
        return x if scale is None else torch.addcmul(shift, x, scale)

    @staticmethod
    def _loses_digits(x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.ndim == 4
            and x.shape[2] * x.shape[3] > EXACT_UP_TO
            and x.is_contiguous(memory_format=torch.channels_last)
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
        )

    def _by_tiles(self, x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        b, c, h, w = x.shape
        size = next(size for size in range(TILE, 0, -1) if h * w % size == 0)
        tiles = x.permute(0, 2, 3, 1).view(-1, 1, size, c).permute(0, 3, 1, 2)  # b*t c 1 size, no copy
        out, mean, rstd = torch.native_group_norm(
            tiles, None, None, len(tiles), c, size, self.num_groups, self.eps
        )  # mean, rstd: b*t g
        mean = mean.double().view(b, -1, self.num_groups)  # b t g
        variance = rstd.double().view_as(mean) ** -2 - self.eps
        joined = mean.mean(1, keepdim=True)  # b 1 g
        variance = (variance + (mean - joined) ** 2).mean(1)  # b g
        factor = (variance + self.eps) ** -0.5
        per_channel = c // self.num_groups
        factor, joined = (part.repeat_interleave(per_channel, 1) for part in (factor, joined[:, 0]))  # b c
        if self.weight is not None:
            factor = factor * self.weight.double()
        offset = -joined * factor + (0.0 if self.bias is None else self.bias.double())
        if scale is not None:
            factor, offset = factor * scale.flatten(1).double(), offset * scale.flatten(1).double()
            offset = offset + shift.flatten(1).double()
        offset, factor = (part.to(x.dtype)[:, :, None, None] for part in (offset, factor))  # b c 1 1
        # Into the memory of the tiles' own output: a fresh block of this size costs as much as the arithmetic.
        out = out.permute(0, 2, 3, 1).view(b, h, w, c).permute(0, 3, 1, 2)
        return torch.addcmul(offset, x, factor, out=out)
