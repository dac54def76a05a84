"""How does a picture go through a VAE and back, whoever's it is: ComfyUI's own object, or one of our tiny ones?

Both take and give the host's forms: IMAGE (b h w c) in [0, 1], LATENT's samples (b c h w), or with frames (b c t h w).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...imagen_core import PixelSpace, TinyVAE
from .memory import device
from .pictures import image_from_core, image_to_core


class PictureVAE:
    """One of ours with the two calls that nodes make of ComfyUI's VAE, so that VAE Decode and VAE Encode take it too."""

    def __init__(self, vae: TinyVAE | PixelSpace) -> None:
        self.vae = vae

    def encode(self, pixels: Tensor) -> Tensor:
        """Of sides that are no multiple of a latent's, what lies about the middle, as ComfyUI's cuts it."""
        height, width = (side // self.vae.factor * self.vae.factor for side in pixels.shape[1:3])
        if not height or not width:
            raise ValueError(
                f"a picture of {tuple(pixels.shape[1:3])} is smaller than the {self.vae.factor} pixels of one latent"
            )
        return self._run(self.vae.encode, _middle(image_to_core(pixels), height, width))

    def decode(self, samples: Tensor) -> Tensor:
        if samples.ndim != 4 or samples.shape[1] != self.vae.channels:
            raise ValueError(
                f"a latent of shape {tuple(samples.shape)} is another model's: this VAE reads (b {self.vae.channels} h w)"
            )
        return image_from_core(self._run(self.vae.decode, samples))

    def _run(self, way: Any, given: Tensor) -> Tensor:
        """Weights come to the device for the call alone: there are few."""
        if isinstance(self.vae, TinyVAE):
            self.vae.network.to(device())
        result = way(given.to(device())).cpu()
        if isinstance(self.vae, TinyVAE):
            self.vae.network.to("cpu")
        return result


def round_trip(vae: Any, image: Tensor) -> tuple[Tensor, Tensor]:
    """IMAGE -> the pictures (b 3 h w) in [-1, 1], and as they come back; what the VAE cuts off the first lack as well.

    One at a time, since a VAE of videos takes a batch for frames. Raises ValueError for what gives no pictures back.
    """
    pictures = image_to_core(image)
    after = torch.cat([decoded(vae, vae.encode(image_from_core(picture[None])))[:1] for picture in pictures])
    height, width = after.shape[-2:]
    if height > image.shape[1] or width > image.shape[2]:
        raise ValueError(
            f"this VAE gives {width}x{height} back for {image.shape[2]}x{image.shape[1]}: give it a picture whose sides are"
            " multiples of what one latent stands for"
        )
    return _middle(pictures, height, width), after


def decoded(vae: Any, samples: Tensor) -> Tensor:
    """A latent as pictures (b 3 h w) in [-1, 1]; frames, if there are any, one after the other."""
    image = vae.decode(samples)
    if image.ndim not in (4, 5) or image.shape[-1] < 3:
        raise ValueError(
            f"this VAE decodes to shape {tuple(image.shape)}, which is no picture: connect one of pictures"
        )
    return image_to_core(image.reshape(-1, *image.shape[-3:]).cpu())


def _middle(x: Tensor, height: int, width: int) -> Tensor:
    """(b c h w) cut about its centre."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]
