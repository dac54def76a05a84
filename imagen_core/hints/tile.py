"""What is left of a picture without its detail? The picture blurred, for a control that draws the detail anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..super_resolution import resize
from ._base import Hint, uniform


@dataclass(frozen=True, kw_only=True)
class Tile(Hint):
    """The picture shrunk by area and grown again.

    shrink: how many times it is shrunk; 4 keeps shapes, 8 keeps colours and places.
    """

    name: ClassVar[str] = "tile"
    what: ClassVar[str] = "a blurred picture"
    shrink: float = 4.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.shrink <= 64.0:
            raise ValueError(f"shrunk {self.shrink} times: expected 1 to 64, 4 is usual")

    def __call__(self, pictures: Tensor) -> Tensor:
        size = tuple(pictures.shape[-2:])
        return resize(resize(pictures, tuple(max(1, round(side / self.shrink)) for side in size)), size)

    def varied(self, generator: torch.Generator) -> Tile:
        return replace(self, shrink=uniform(2.0, 8.0, generator))
