"""How does a picture look to the host, and how to the core? Shapes: b images, h w pixels, c channels."""

from __future__ import annotations

import torch
from torch import Tensor


def image_to_core(image: Tensor) -> Tensor:
    """The host's IMAGE (b h w c) in [0, 1] as (b 3 h w) in [-1, 1]; alpha is dropped, grey becomes colour."""
    pixels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)
    return pixels.movedim(-1, 1).float() * 2.0 - 1.0  # b 3 h w


def image_from_core(pixels: Tensor) -> Tensor:
    """(b c h w) in [-1, 1] as the host's IMAGE (b h w c) in [0, 1]."""
    return ((pixels + 1.0) / 2.0).clamp(0.0, 1.0).movedim(1, -1).contiguous().float().cpu()  # b h w c


def mask_to_core(mask: Tensor) -> Tensor:
    """The host's MASK (b h w), or (h w), in [0, 1] as (b 1 h w): 1 where a picture is transparent, or to be repainted."""
    return mask.reshape(-1, 1, *mask.shape[-2:]).float().clamp(0.0, 1.0)  # b 1 h w


def empty_latent(count: int, height: int, width: int) -> dict[str, Tensor]:
    """The host's LATENT for a model that draws pixels: {"samples": (b 3 h w)}, all zero."""
    return {"samples": torch.zeros(count, 3, height, width)}


def latent_from_image(image: Tensor) -> dict[str, Tensor]:
    """The host's IMAGE (b h w c) in [0, 1] as such a LATENT, in [-1, 1]."""
    return {"samples": image_to_core(image).contiguous()}


def image_from_latent(latent: dict[str, Tensor]) -> Tensor:
    """The pictures in such a LATENT as the host's IMAGE. Raises ValueError for the latent of another kind of model."""
    samples = latent["samples"]
    if samples.ndim != 4 or samples.shape[1] != 3:
        raise ValueError(
            f"a latent of shape {tuple(samples.shape)} holds no pixels, which are (b 3 h w): use VAE Decode for the latents"
            " of other models"
        )
    return image_from_core(samples)
