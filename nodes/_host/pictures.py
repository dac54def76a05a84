"""How does a picture look to the host, and how to the core? Shapes: b images, h w pixels, c channels."""

from __future__ import annotations

from torch import Tensor


def image_to_core(image: Tensor) -> Tensor:
    """The host's IMAGE (b h w c) in [0, 1] as (b 3 h w) in [-1, 1]; alpha is dropped, grey becomes colour."""
    pixels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)
    return pixels.movedim(-1, 1).float() * 2.0 - 1.0  # b 3 h w


def image_from_core(pixels: Tensor) -> Tensor:
    """(b c h w) in [-1, 1] as the host's IMAGE (b h w c) in [0, 1]."""
    return ((pixels + 1.0) / 2.0).clamp(0.0, 1.0).movedim(1, -1).contiguous().float().cpu()  # b h w c
