"""What is static thresholding? Clipping x_0 to [-1, 1] (Imagen, section 2.3 and Fig. A.10a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Thresholding


@dataclass(frozen=True, kw_only=True)
class StaticThresholding(Thresholding):
    """clip(x_0, -1, 1): the least that strong guidance needs; large weights still drive pixels to the ends.

    limit: where it clips instead of at 1, for checkpoints that ask for it (diffusers' clip_sample_range).
    """

    name: ClassVar[str] = "static"
    limit: float = 1.0

    def __post_init__(self) -> None:
        if not self.limit > 0.0:
            raise ValueError(f"limit {self.limit} clips everything away: use 1, the edge of the range")

    def __call__(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-self.limit, self.limit)
