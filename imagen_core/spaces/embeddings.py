"""What does a prior draw in? Embeddings of pictures, normalised (unCLIP, arXiv 2204.06125, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..thresholding import Thresholding
from ..thresholding.static import StaticThresholding
from ._base import Space


@dataclass(frozen=True, kw_only=True)
class Embeddings(Space):
    """A row of numbers a picture, each of deviation 1, of no height and no width.

    limit: how far from zero one may lie; Karlo's is 10.
    """

    name: ClassVar[str] = "embeddings"
    limit: float = 10.0

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"limit {self.limit} leaves no room: it must be positive, 10 for Karlo")

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """channels: of the embedding; height and width are a picture's, of which it knows nothing."""
        return (channels,)

    def finish(self, x_0: Tensor) -> Tensor:
        return x_0.float().cpu()

    def preview(self, x_0: Tensor) -> Tensor:
        """A grey square with a cell a number, as square as it comes out."""
        count = x_0.shape[1]
        side = next(side for side in range(int(count**0.5), 0, -1) if count % side == 0)
        return (x_0 / 3.0).clamp(-1.0, 1.0).view(-1, 1, side, count // side).expand(-1, 3, -1, -1)

    def thresholding(self) -> Thresholding:
        return StaticThresholding(limit=self.limit)
