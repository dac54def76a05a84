"""Which network enlarges what Karlo's decoder drew? Two of ADM's: one for all steps but the last, one for that.

The second was trained further with a perceptual and an adversarial loss, to draw the finest detail in one call at
timestep 0 (Karlo v1.0.alpha, "improved SR").

Shapes: b batch, c h w a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..conditioning import Signals, TextEmbeds
from ._base import UNet, UNetConfig
from .adm import ADM, ADMConfig


@dataclass(frozen=True, kw_only=True)
class KarloUpsamplerConfig(UNetConfig):
    """Settings of `KarloUpsampler`; the defaults are Karlo v1.0.alpha's. One entry a level, finest first."""

    tiny: ClassVar[dict[str, Any]] = {"channels": (32, 64), "num_res_blocks": (1, 1)}
    text_embed_dim: int | None = None  # it reads no text
    channels: tuple[int, ...] = (320, 640, 960, 1280)  # width of each level
    num_res_blocks: tuple[int, ...] = (3, 3, 3, 3)  # on the way down; the way up has one more

    def __post_init__(self) -> None:
        if self.text_embed_dim is not None or self.patch_size != 1:
            raise ValueError("Karlo's upsampler reads no text (text_embed_dim is None), with patch_size 1")
        _ = self.adm  # which checks the others

    @property
    def adm(self) -> ADMConfig:
        """What these settings mean in ADM's network, for each of the two."""
        return ADMConfig.of(
            self,
            attention=(False,) * len(self.channels),
            middle_attention=False,
            scale_shift=False,
            pixels=("low_res",),
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.adm.inputs


class KarloUpsampler(UNet):
    """network(x_t, timestep, told): noisy picture (b c h w), timestep (b,) in 0..999, told.pixels -> eps (b c h w)."""

    name: ClassVar[str] = "karlo_upsampler"
    config_cls: ClassVar[type[UNetConfig]] = KarloUpsamplerConfig

    def __init__(self, config: KarloUpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.first, self.last = ADM(config.adm), ADM(config.adm)

    def encode_text(self, text: TextEmbeds) -> Signals:
        raise ValueError("Karlo's upsampler reads no text: give it no prompt")

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """The first network's answer, or at timestep 0 the last one's, image by image.

        Raises ValueError for a missing low_res, or one of another size.
        """
        ends = time < 0.5
        if time.is_meta or not ends.any():
            return self.first(x_t, time, told)
        if ends.all():
            return self.last(x_t, time, told)
        return torch.where(ends[:, None, None, None], self.last(x_t, time, told), self.first(x_t, time, told))
