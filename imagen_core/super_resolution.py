"""How is a small picture prepared as a super-resolution network's condition? (Imagen, section 2.5, figure A.32.)

Shapes: b batch, c h w a picture in [-1, 1].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from .conditioning import aug_level_to_timestep

if TYPE_CHECKING:
    from .schedules import Schedule


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (b c h w) to (b c *size), along each axis by area when shrinking and bilinearly when growing.

    Pixel centres stay where they are (no half-pixel shift), and shrinking does not alias. Range is kept.
    """
    if image.ndim != 4 or min(size) < 1:
        raise ValueError(f"resize takes (b c h w) and a size of at least 1x1: got {tuple(image.shape)} and {size}")
    return _resize_rows(_resize_rows(image, size[0]).mT, size[1]).mT.contiguous()


def _resize_rows(image: Tensor, height: int) -> Tensor:
    """Resize axis h of (b c h w) to `height`."""
    old = image.shape[-2]
    if height == old:
        return image
    if height > old:
        return F.interpolate(image, size=(height, image.shape[-1]), mode="bilinear", align_corners=False)
    return _overlap(old, height, image) @ image


def _overlap(old: int, new: int, like: Tensor) -> Tensor:
    """(new old): the share of each new pixel's area that each old pixel covers (exact for fractional factors too)."""
    edges = torch.arange(new + 1, dtype=torch.float64) * (old / new)
    rows = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], rows + 1) - torch.maximum(edges[:-1, None], rows)  # new old
    return (covered.clamp(min=0) * (new / old)).to(like)


def on_grid(mask: Tensor, positions: int) -> Tensor:
    """A mask (b 1 h w) on the grid of so many square cells that covers it, row by row: (b m 1)."""
    height, width = mask.shape[-2:]
    cell = math.isqrt(height * width // positions)
    return resize(mask, (height // cell, width // cell)).flatten(2).mT


def upsample(image: Tensor, size: tuple[int, int], method: str) -> Tensor:
    """Enlarge a small picture (b c h w) to (b c *size) as its network was trained to see it: StageSpec.low_res_resize.

    "area_bilinear" is `resize`. "align_corners" is bilinear between the outermost pixel centres, DeepFloyd IF's way, and
    moves content by up to half a small pixel towards the edges. "bicubic" is Karlo's, and may leave [-1, 1] a little.
    """
    if method == "align_corners":
        return F.interpolate(image, size=size, mode="bilinear", align_corners=True)
    if method == "bicubic":
        return F.interpolate(image, size=size, mode="bicubic", align_corners=False, antialias=True)
    return resize(image, size)


def as_8bit(image: Tensor) -> Tensor:
    """A picture (b c h w) in [-1, 1] at the nearest of the 256 values that a picture file can hold."""
    return ((image + 1.0) * 127.5).round() / 127.5 - 1.0


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut (b c h w) about its centre to the proportions of `size`, then resize it: (b c *size), not distorted."""
    height, width = image.shape[-2:]
    kept = (min(height, round(width * size[0] / size[1])), min(width, round(height * size[1] / size[0])))
    kept_height, kept_width = (max(1, side) for side in kept)
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return resize(image[..., top : top + kept_height, left : left + kept_width], size)


def augment(
    low_res: Tensor, aug_level: Tensor, schedule: Schedule, noise: Tensor, *, zero_is_clean: bool = True
) -> Tensor:
    """Noise conditioning augmentation: alpha * low_res + sigma * noise, variance-preserving, at t = aug_level.

    low_res, noise (b c h w); aug_level (b,) in [0, 1]. Returns (b c h w). zero_is_clean: level 0 leaves the picture
    untouched; False is DeepFloyd IF, whose level is a timestep, and whose timestep 0 adds noise of deviation 0.0064.
    """
    if aug_level.ndim != 1 or aug_level.shape[0] != low_res.shape[0]:
        raise ValueError(f"aug_level must be one level an image, ({low_res.shape[0]},): got {tuple(aug_level.shape)}")
    # Only where reading it back does not stall a device.
    if aug_level.device.type == "cpu" and bool(((aug_level < 0) | (aug_level > 1)).any()):
        raise ValueError(f"aug_level must lie in [0, 1]: got {aug_level.tolist()}")
    t = aug_level if zero_is_clean else aug_level_to_timestep(aug_level) / 999.0
    alpha, sigma = schedule.alpha_sigma(t)
    alpha, sigma = (part.to(low_res.dtype)[:, None, None, None] for part in (alpha, sigma))  # b 1 1 1
    noised = alpha * low_res + sigma * noise.to(low_res.dtype)
    return noised.where(aug_level[:, None, None, None] > 0, low_res) if zero_is_clean else noised


def resize_longest_side(image: Tensor, side: int) -> Tensor:
    """Resize (b c h w) so that its longer side is `side`, keeping its proportions (the shorter is at least 1)."""
    longest = max(image.shape[-2:])
    height, width = (max(1, round(length * side / longest)) for length in image.shape[-2:])
    return resize(image, (height, width))
