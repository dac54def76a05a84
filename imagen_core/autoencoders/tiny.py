"""How does a tiny autoencoder (TAESD, MIT) turn a picture into latents and back? 1.2 million weights each way.

It stands in for Stable Diffusion's VAE, whose latents it reads and writes; TAESDXL, TAESD3 and TAEF1 for those of their
models. Shapes: b batch, h w pixels, c channels of a latent, k channels inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FACTOR = 8  # pixels a side that one position of a latent stands for
LIMIT = 3.0  # of what the decoder reads, softly


@dataclass(frozen=True, kw_only=True)
class LatentForm:
    """How a model writes its latents: what a network calls z is `(latent - shift) * scale`."""

    channels: int  # of a latent
    scale: float  # one over the latents' deviation, as their model was trained
    shift: float = 0.0  # their mean


LATENT_FORMS = {
    "sd1": LatentForm(channels=4, scale=0.18215),
    "sdxl": LatentForm(channels=4, scale=0.13025),
    "sd3": LatentForm(channels=16, scale=1.5305, shift=0.0609),
    "flux": LatentForm(channels=16, scale=0.3611, shift=0.1159),
}


class Block(nn.Module):
    """Three convolutions beside the identity, then ReLU: (b k h w) -> (b k h w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width), nn.ReLU(), _conv(width), nn.ReLU(), _conv(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class TinyAutoencoder(nn.Module):
    """Encoder and decoder under the names of diffusers' AutoencoderTiny, but for its word "layers".

    channels: of a latent. width: channels inside. encoder: False where only the decoder is at hand.
    """

    def __init__(self, channels: int, width: int = 64, *, encoder: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.encoder = nn.Sequential(*_down(channels, width)) if encoder else None
        self.decoder = nn.Sequential(*_up(channels, width))

    def encode(self, pictures: Tensor) -> Tensor:
        """(b 3 h w) in [-1, 1], sides multiples of 8 -> z (b c h/8 w/8). Raises ValueError without an encoder."""
        if self.encoder is None:
            raise ValueError(
                "this tiny VAE has a decoder alone: put its encoder's file (taesd_encoder.safetensors) beside it"
            )
        return self.encoder((pictures + 1.0) / 2.0)

    def decode(self, z: Tensor) -> Tensor:
        """z (b c h w) -> (b 3 8h 8w), mostly in [-1, 1]."""
        return self.decoder(LIMIT * torch.tanh(z / LIMIT)) * 2.0 - 1.0


class PixelSpace:
    """The autoencoder of a model that draws pixels: its latents are the pictures."""

    channels, factor = 3, 1

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, latents: Tensor) -> Tensor:
        return latents


@dataclass(frozen=True)
class TinyVAE:
    """A loaded `TinyAutoencoder`, and whose latents it reads."""

    network: TinyAutoencoder
    form: LatentForm
    factor = FACTOR

    @property
    def channels(self) -> int:
        return self.form.channels

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """(b 3 h w) in [-1, 1] -> latents (b c h/8 w/8) as the large VAE would give them to its decoder, float32."""
        return self.network.encode(pictures.to(self._like())).float() / self.form.scale + self.form.shift

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (b c h w) -> pictures (b 3 8h 8w), float32."""
        return self.network.decode((latents.to(self._like()) - self.form.shift) * self.form.scale).float()

    def _like(self) -> Tensor:
        return next(self.network.decoder.parameters())


def _conv(width: int, out: int | None = None, **more: object) -> nn.Conv2d:
    return nn.Conv2d(width, width if out is None else out, 3, padding=1, **more)


def _down(channels: int, width: int) -> Iterator[nn.Module]:
    yield from (_conv(3, width), Block(width))
    for _ in range(3):
        yield _conv(width, stride=2, bias=False)
        yield from (Block(width) for _ in range(3))
    yield _conv(width, channels)


def _up(channels: int, width: int) -> Iterator[nn.Module]:
    yield from (_conv(channels, width), nn.ReLU())
    for _ in range(3):
        yield from (Block(width) for _ in range(3))
        yield from (nn.Upsample(scale_factor=2), _conv(width, bias=False))
    yield from (Block(width), _conv(width, 3))
