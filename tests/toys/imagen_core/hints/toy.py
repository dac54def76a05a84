"""What is the least that a hint is? A picture made of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ._base import Hint


@dataclass(frozen=True, kw_only=True)
class Negative(Hint):
    """The picture's negative.

    share: how much of it.
    """

    name: ClassVar[str] = "toy"
    share: float = 1.0

    def __call__(self, pictures: Tensor) -> Tensor:
        return -self.share * pictures
