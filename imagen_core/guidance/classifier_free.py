"""What is classifier-free guidance? Extrapolating from the null prompt's prediction through the prompt's.

Classifier-Free Diffusion Guidance (arXiv 2207.12598) in Imagen's convention (section 2.2, Eq. 2): 1 is off. The two
predictions have the same x_t, so combining x_0 is combining eps. Interval: arXiv 2404.07724. Rescale: arXiv
2305.08891, section 3.4, on x_0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..predictor import Point
from ._base import Guidance


@dataclass(frozen=True, kw_only=True)
class ClassifierFreeGuidance(Guidance):
    """x_0 = null + scale (cond - null); one pass instead of two where it would change nothing.

    scale: the paper's w. 1 (or less) is off, 5 to 8 follow the prompt closely, more saturates.
    start, end: the part of the way from noise to picture that is guided, as progress 1 - t: 0 is pure noise, 1 the
        clean picture. 0 and 1 guide everywhere; 0.1 to 0.8 keeps more variety and skips the second pass elsewhere.
    rescale: in [0, 1], how far the standard deviation is pulled back to the conditional prediction's; 0 is off.
    """

    name: ClassVar[str] = "classifier_free"
    rescale: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.rescale <= 1.0:
            raise ValueError(f"rescale {self.rescale} is outside [0, 1]: 0 is off, 0.7 is usual")

    def combine(self, x_0: Mapping[str, Tensor], at: Point, *, memory: Any = None) -> Tensor:
        return rescale_guidance(x_0["null"].lerp(x_0["cond"], self.scale), x_0["cond"], self.rescale)


def rescale_guidance(guided_x_0: Tensor, cond_x_0: Tensor, rescale: float) -> Tensor:
    """Pull the standard deviation of the guided x_0 (b c ...) a share `rescale` of the way back to the conditional's."""
    if rescale == 0.0:
        return guided_x_0
    wanted, got = (x.std(dim=tuple(range(1, x.ndim)), keepdim=True) for x in (cond_x_0, guided_x_0))
    # A flat picture has no deviation to restore.
    factor = (wanted / got).where(got > 0.0, 1.0)
    return guided_x_0 * (1.0 + rescale * (factor - 1.0))
