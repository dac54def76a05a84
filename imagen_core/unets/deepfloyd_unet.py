"""Which network do DeepFloyd IF's two stages have? (ADM's U-Net, arXiv 2105.05233, with Imagen's text, 2205.11487.)

Against `BaseUNet`: GELU instead of SiLU; the text is normalised in groups over its channels and all 77 tokens, pads
included, and no mask hides a token; stage II reads the upscaled picture and how noisy it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ._base import UNetConfig
from .adm import ADM, ADMConfig

TEXT_TOKENS = 77
SKIP_DIVISOR = 1.4142271248762552  # stage II: 1/0.7071 and not sqrt(2), as published


@dataclass(frozen=True, kw_only=True)
class DeepFloydUNetConfig(UNetConfig):
    """Settings of `DeepFloydUNet`; the defaults are IF-I-XL. One entry a level, finest first."""

    tiny: ClassVar[dict[str, Any]] = {
        "channels": (32, 64),
        "num_res_blocks": (1, 1),
        "attention": (False, True),
        "per_head_channels": 16,
        "text_width": 32,
        "pooling_heads": 4,
    }
    out_channels: int = 6  # a learned variance with it
    channels: tuple[int, ...] = (704, 1408, 2112, 2816)  # width of each level
    num_res_blocks: tuple[int, ...] = (3, 3, 3, 3)  # on the way down; the way up has one more
    attention: tuple[bool, ...] = (False, True, True, True)  # after every block; the middle always attends
    per_head_channels: int = 64  # width of a head
    text_width: int = 2816  # of the text inside the network
    project_text: bool = True  # whether a layer takes it there from text_embed_dim
    pooling_heads: int = 64  # of the attention that pools the text
    time_embed_dim: int | None = None  # 4 * channels[0]
    low_res_conditioning: bool = False  # stage II, whose stem reads twice in_channels
    skip_divisor: float = 1.0  # what the sum of a block and its skip is divided by

    def __post_init__(self) -> None:
        if self.text_embed_dim is None or self.patch_size != 1 or self.pooling_queries != 1:
            raise ValueError("a DeepFloyd network reads text (text_embed_dim), with patch_size and pooling_queries 1")
        if not self.project_text and self.text_width != self.text_embed_dim:
            raise ValueError(f"without project_text, text_width {self.text_width} must be {self.text_embed_dim}")
        _ = self.adm  # which checks the others

    @property
    def adm(self) -> ADMConfig:
        """What these settings mean in ADM's network."""
        return ADMConfig.of(
            self,
            activation="gelu",
            pixels=("low_res",) if self.low_res_conditioning else (),
            reads_aug_level=self.low_res_conditioning,
            text_width=self.text_width if self.project_text else None,
            text_tokens=TEXT_TOKENS,
            text_mask=False,
            text_norm="group",
            text_pooling="mean",
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.adm.inputs

    @property
    def text_length(self) -> int | None:
        return TEXT_TOKENS

    @property
    def embed_dim(self) -> int:
        return self.adm.embed_dim

    @property
    def stem_channels(self) -> int:
        return self.adm.stem_channels


class DeepFloydUNet(ADM):
    """network(x_t, timestep, told): noisy picture (b c h w), timestep (b,) in 0..999 -> (b 2c h w)."""

    name: ClassVar[str] = "deepfloyd_if"
    config_cls: ClassVar[type[UNetConfig]] = DeepFloydUNetConfig
    own_text_encoder: ClassVar[str] = "T5 v1.1 XXL (4096 wide), with which DeepFloyd IF was trained"
