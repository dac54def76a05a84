"""Which network draws the 64x64 picture? (Imagen, arXiv 2205.11487, appendix F.1: ADM's U-Net with text in attention.)"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ._base import UNetConfig
from .adm import ADM, ADMConfig
from .blocks import OWN


@dataclass(frozen=True, kw_only=True)
class BaseUNetConfig(UNetConfig):
    """Settings of `BaseUNet`; the defaults are the paper's 2B model."""

    tiny: ClassVar[dict[str, Any]] = {
        "image_size": 16,
        "channels": 16,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (8,),
        "per_head_channels": 16,
    }
    image_size: int = 64  # side of the pictures that attention_resolutions speaks of
    channels: int = 512  # width of the finest level
    channel_mult: tuple[float, ...] = (1, 2, 3, 4)  # width of each level, finest first, in multiples of it
    num_res_blocks: int | tuple[int, ...] = 3  # on the way down, for all levels or each; the way up has one more (ADM)
    # A level attends when the side of its feature map is listed: image_size / patch_size / 2**level, so with patch_size
    # 1 these are the paper's pixels; with a 4x4 stem a 64 px picture has levels of side 16, 8, 4. The middle attends.
    attention_resolutions: tuple[int, ...] = (32, 16, 8)
    per_head_channels: int = 64  # width of a head
    time_embed_dim: int | None = None  # 4 * channels

    def __post_init__(self) -> None:
        if isinstance(self.num_res_blocks, tuple) and len(self.num_res_blocks) != len(self.channel_mult):
            raise ValueError(
                f"num_res_blocks {self.num_res_blocks} must name one number for each of the "
                f"{len(self.channel_mult)} levels of channel_mult, or be a single number"
            )
        unknown = set(self.attention_resolutions) - set(self.level_sides)
        if unknown:
            raise ValueError(
                f"attention_resolutions {sorted(unknown)} name no level: with image_size {self.image_size} and "
                f"patch_size {self.patch_size} the levels have sides {self.level_sides}"
            )

    @property
    def level_sides(self) -> tuple[int, ...]:
        """Side of every level's feature map for a picture of `image_size`."""
        return tuple(self.image_size // (self.patch_size * 2**level) for level in range(len(self.channel_mult)))

    @property
    def adm(self) -> ADMConfig:
        """What these settings mean in ADM's network: text normalised once, its padding hidden, blocks of our own style."""
        levels = len(self.channel_mult)
        blocks = self.num_res_blocks
        return ADMConfig.of(
            self,
            **asdict(OWN),
            angles_as_published=False,
            channels=tuple(round(self.channels * mult) for mult in self.channel_mult),
            num_res_blocks=blocks if isinstance(blocks, tuple) else (blocks,) * levels,
            attention=tuple(side in self.attention_resolutions for side in self.level_sides),
            time_width=self.channels,
            max_attended=None,
        )

    @property
    def embed_dim(self) -> int:
        return self.adm.embed_dim


class BaseUNet(ADM):
    """network(x_t, time, told): noisy picture (b c h w), time (b,) in 0..1000 -> (b out_channels h w)."""

    name: ClassVar[str] = "base"
    config_cls: ClassVar[type[UNetConfig]] = BaseUNetConfig
