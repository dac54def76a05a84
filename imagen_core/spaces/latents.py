"""What is drawn in latents? What an autoencoder makes pictures of (latent diffusion, arXiv 2112.10752)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..thresholding import Thresholding
from ..thresholding.none import NoThresholding
from ._base import Space


@dataclass(frozen=True, kw_only=True)
class Latents(Space):
    """An autoencoder's latents, scaled to a deviation of about 1. The defaults are Stable Diffusion 1's.

    factor: how many pixels a side one position stands for.
    scale: what the encoder's latents are multiplied by; what is handed out is divided by it, for the decoder.
    """

    name: ClassVar[str] = "latents"
    factor: int = 8
    scale: float = 0.18215

    def __post_init__(self) -> None:
        if type(self.factor) is not int or self.factor < 1 or not self.scale > 0:
            raise ValueError(f"factor {self.factor} and scale {self.scale} must be positive, the factor a whole number")

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Raises ValueError for a side that is no multiple of `factor`."""
        if height % self.factor or width % self.factor:
            raise ValueError(f"{width}x{height} is no multiple of {self.factor} pixels, which one latent stands for")
        return channels, height // self.factor, width // self.factor

    def finish(self, x_0: Tensor) -> Tensor:
        return (x_0 / self.scale).float().cpu()

    def preview(self, x_0: Tensor) -> Tensor:
        """Three channels as red, green and blue: where things are, not what colour they have."""
        return (x_0[:, :3] / 2.0).clamp(-1.0, 1.0)

    def thresholding(self) -> Thresholding:
        return NoThresholding()
