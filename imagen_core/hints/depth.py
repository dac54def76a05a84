"""How near is what a picture shows, place by place? Near is white and far is black, as depth controls read it.

No picture says it by itself: it is read from a picture of depth that something else made (an estimator such as MiDaS, arXiv
1907.01341, or Depth Anything, arXiv 2401.10891; a renderer's depth pass), or it is known. As MiDaS does, each picture is
scaled by its own nearest and farthest places: metres mean nothing here.

Shapes: b images, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Hint, as_picture, is_grey, is_thin, luminance, uniform
from ._gradients import blurred

BASE_SIDE = 64  # of a picture for which the blur is said
SMALLEST = 1.0 / 255.0  # range of depths that counts as any: less is what rounding leaves of a plain picture


@dataclass(frozen=True, kw_only=True)
class Depth(Hint):
    """A grey picture of depth, brought to the whole range from black, far, to white, near.

    inverted: whether dark is near in the picture of depth that it is made of.
    far: the share of a picture's pixels that are black, beyond which a stray one counts for nothing.
    near: the share that are white.
    bend: an exponent, by which middle depths are darker (above 1) or lighter.
    sigma: how much it is blurred, in pixels of a picture 64 wide.
    """

    name: ClassVar[str] = "depth"
    what: ClassVar[str] = "a grey picture, near things white"
    reads_depths: ClassVar[bool] = True
    inverted: bool = False
    far: float = 0.01
    near: float = 0.01
    bend: float = 1.0
    sigma: float = 0.0

    def __post_init__(self) -> None:
        for share in (self.far, self.near):
            if not 0.0 <= share < 0.5:
                raise ValueError(
                    f"a share of {share} of the pixels beyond near or far: expected 0 to 0.49, 0.01 is usual"
                )

    def __call__(self, pictures: Tensor) -> Tensor:
        """Of pictures of depth, whose brightness says how near what they show is."""
        return self.of_depths(luminance(pictures.float())[:, 0])

    def of_depths(self, depths: Tensor) -> Tensor:
        """How near each place is (b h w), in any unit, more being nearer -> (b 3 h w) in [-1, 1]."""
        near = -depths.float() if self.inverted else depths.float()
        least, most = (_ranked(near, share) for share in (self.far, 1.0 - self.near))
        scaled = ((near - least) / (most - least).clamp_min(SMALLEST)).clamp(0.0, 1.0)
        scaled = scaled * (most - least >= SMALLEST)  # a plain picture is far
        sigma = self.sigma * max(depths.shape[-2:]) / BASE_SIDE
        return as_picture(blurred(scaled[:, None], sigma).clamp(0.0, 1.0) ** self.bend)

    def fits(self, picture: Tensor) -> bool:
        return is_grey(picture)

    def typical(self, picture: Tensor) -> bool:
        return not is_thin(picture)

    def varied(self, generator: torch.Generator) -> Depth:
        """As estimators differ: sharp or soft, and in how they tell middle depths."""
        return replace(self, bend=uniform(0.7, 1.4, generator), sigma=uniform(0.0, 1.2, generator))


def _ranked(values: Tensor, share: float) -> Tensor:
    """Of each image's values (b h w) the one that this share lie below, (b 1 1)."""
    flat = values.flatten(1)
    rank = 1 + round(share * (flat.shape[1] - 1))
    return flat.kthvalue(rank, dim=1).values[:, None, None]
