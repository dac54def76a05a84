"""How is a strongly guided x_0 kept in range where pictures have no [-1, 1], as in the latents of any host's model?

Imagen's dynamic thresholding (section 2.3) with the range of a moderately guided prediction in the place of [-1, 1], and
its channel means in the place of 0: the "mimic scale" of sd-dynamic-thresholding. Shapes: b images, c channels, r rows
(one an image, or one a channel of an image) of n values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..progress import CURVES, strength_at
from .dynamic import DynamicThresholding, abs_quantile

METHODS = ("dynamic", "static", "none")
SPACES = ("pixel", "latent")


def threshold_like(
    x_0: Tensor, reference: Tensor, *, percentile: float, maximum: float | None = None, per_channel: bool = False
) -> Tensor:
    """Scale and clip x_0 to the range of `reference`, both (b c ...) float32, each image by itself.

    With deviations d from the reference's channel means, q their `percentile` quantile of |d| and e the reference's
    largest |d|: s = max(q(x_0), q(reference)), result = means + clip(d q(reference) / s, -e, e). With means 0 and
    q(reference) = e = 1 that is the paper's formula. x_0 = reference comes back unchanged (to rounding), and no result
    lies farther from the means than the reference does. maximum bounds s / q(reference), at least 1.
    """
    means = reference.mean(dim=tuple(range(2, reference.ndim)), keepdim=True)
    values, expected = (_rows(picture - means, per_channel) for picture in (x_0, reference))
    edge = abs_quantile(expected, percentile)
    threshold = torch.maximum(abs_quantile(values, percentile), edge)
    if maximum is not None:
        threshold = torch.minimum(threshold, maximum * edge)
    shrink = (edge / threshold).where(threshold > 0.0, 1.0)[:, None]  # r 1
    extreme = expected.abs().amax(dim=1, keepdim=True)  # r 1
    return means + (values * shrink).clamp(-extreme, extreme).reshape(x_0.shape)


def _rows(picture: Tensor, per_channel: bool) -> Tensor:
    """(b c ...) as (r n): what is measured together lies in one row."""
    return picture.flatten(0, 1).flatten(1) if per_channel else picture.flatten(1)


@dataclass(frozen=True, kw_only=True)
class GuidedThresholding:
    """Thresholding of a model that is not ours, whose guidance has just been applied: a frozen set of choices, called.

    method: "dynamic" (scale, then clip), "static" (clip only), "none".
    space: "pixel" where x_0 is a picture in [-1, 1]: the paper's formula, exactly. "latent" elsewhere: the range of what
        `mimic_scale` would have predicted is kept, and nothing is done where guidance is no stronger than that.
    percentile, maximum: as in DynamicThresholding. per_channel: whether each channel has a range of its own.
    start, end: where on the way from noise (0) to picture (1) it works; curve: how its strength fades between them.
    """

    method: str = "dynamic"
    space: str = "latent"
    percentile: float = 0.995
    maximum: float | None = None
    per_channel: bool = False
    mimic_scale: float = 7.0
    start: float = 0.0
    end: float = 1.0
    curve: str = "constant"

    def __post_init__(self) -> None:
        for value, known, name in (
            (self.method, METHODS, "method"),
            (self.space, SPACES, "space"),
            (self.curve, CURVES, "curve"),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(known)}")
        strength_at(0.0, self.start, self.end, self.curve)
        self._dynamic()

    def __call__(
        self, x_0: Tensor, cond_x_0: Tensor, null_x_0: Tensor | None, *, guidance_scale: float, progress: float
    ) -> Tensor:
        """Threshold the guided x_0 (b c ...), given what it was guided from; same shape and dtype.

        null_x_0: None where the host ran no unconditional pass. progress: 1 - t, 0 noise and 1 picture.
        Returns `x_0` itself where there is nothing to do.
        """
        strength = strength_at(progress, self.start, self.end, self.curve)
        idle = self.method == "none" or strength == 0.0
        if idle or (self.space == "latent" and (null_x_0 is None or abs(guidance_scale) <= abs(self.mimic_scale))):
            return x_0
        guided = x_0.float()
        if self.space == "pixel":
            thresholded = self._in_pixels(guided)
        else:
            thresholded = self._in_latents(guided, null_x_0.float().lerp(cond_x_0.float(), self.mimic_scale))
        return guided.lerp(thresholded, strength).to(x_0.dtype)

    def _limit(self) -> float | None:
        """Static thresholding is dynamic thresholding whose threshold never rises."""
        return 1.0 if self.method == "static" else self.maximum

    def _dynamic(self) -> DynamicThresholding:
        return DynamicThresholding(percentile=self.percentile, maximum=self._limit())

    def _in_pixels(self, x_0: Tensor) -> Tensor:
        rows = _rows(x_0, self.per_channel)[:, None, None]  # r 1 1 n
        return self._dynamic()(rows).reshape(x_0.shape)

    def _in_latents(self, x_0: Tensor, reference: Tensor) -> Tensor:
        return threshold_like(
            x_0, reference, percentile=self.percentile, maximum=self._limit(), per_channel=self.per_channel
        )
