"""Which shapes may pictures have that are not square? Buckets of about one area, each batch from one (NovelAI's way).

Sides are multiples of a step and no bucket is larger than the square of training, so that all cost about the same. A
picture goes to the bucket whose aspect ratio is nearest to its own, and loses the least of its edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """[data.buckets]: keep pictures that are not square nearly whole; without it their middle square is used."""

    step: int = 8  # sides are multiples of it, in pixels; `side` itself may be none
    max_aspect_ratio: float = 2.0  # of the longer side to the shorter; what is beyond is cut to it

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"step is {self.step}, expected 1 or more pixels, such as 8")
        if not 1 <= self.max_aspect_ratio <= 8:
            raise ValueError(f"max_aspect_ratio is {self.max_aspect_ratio}, expected 1 (only squares) to 8")

    def sizes(self, side: int) -> tuple[Size, ...]:
        """(width, height) of every bucket, upright ones first: at most side * side pixels, the square among them."""
        short = range(self.step, side, self.step)
        upright = [(width, side * side // width // self.step * self.step) for width in short]
        upright = [(w, h) for w, h in upright if side < h <= w * self.max_aspect_ratio]
        return (*upright, (side, side), *((h, w) for w, h in reversed(upright)))

    def of(self, size: Size, side: int) -> Size:
        """The bucket of a picture of this size."""
        return min(self.sizes(side), key=lambda bucket: abs(_log_ratio(bucket) - _log_ratio(size)))


def _log_ratio(size: Size) -> float:
    return math.log(size[0] / size[1])


def kept(size: Size, bucket: Size) -> float:
    """The share of a picture's area that is left when it is cut to a bucket's aspect ratio."""
    ratio = math.exp(_log_ratio(size) - _log_ratio(bucket))
    return min(ratio, 1 / ratio)
