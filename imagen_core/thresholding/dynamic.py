"""What is dynamic thresholding? Clip x_0 at a high percentile of |x_0| and rescale (Imagen, section 2.3).

Shapes: b images, n values an image, k of them largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..parameterization import per_image
from ._base import Thresholding


@dataclass(frozen=True, kw_only=True)
class DynamicThresholding(Thresholding):
    """s = max(1, percentile of |x_0|), an image at a time; clip(x_0, -s, s) / s.

    percentile: in (0, 1]; the paper's 0.995 saturates 0.5 % of the values, DeepFloyd IF takes 0.95.
    maximum: an upper bound on s, at least 1, or None. DeepFloyd IF takes 1.5 at 64 px and 1 (static) beyond.
    """

    name: ClassVar[str] = "dynamic"
    percentile: float = 0.995
    maximum: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.percentile <= 1.0:
            raise ValueError(f"percentile {self.percentile} is outside (0, 1]: the paper's is 0.995")
        if self.maximum is not None and self.maximum < 1.0:
            raise ValueError(f"maximum {self.maximum} is below 1, the edge of the range: use 1 or more, or None")

    def __call__(self, x_0: Tensor) -> Tensor:
        threshold = abs_quantile(x_0, self.percentile).clamp(1.0, self.maximum or math.inf)
        threshold = per_image(threshold, x_0)
        return x_0.clamp(-threshold, threshold) / threshold


def abs_quantile(x: Tensor, q: float) -> Tensor:
    """The q-quantile of |x| over all but the batch, linearly interpolated as torch.quantile does it: (b,).

    Only the top share is sorted, so it costs a fraction of a full sort and has no limit of 2^24 values.
    """
    magnitude = x.abs().flatten(1)  # b n
    n = magnitude.shape[1]
    rank = q * (n - 1)
    below = math.floor(rank)
    top = magnitude.topk(n - below, dim=1).values  # b k, largest first: its last has rank `below`
    if rank == below:
        return top[:, -1]
    return top[:, -1].lerp(top[:, -2], rank - below)
