"""What is a thresholding? How a predicted x_0 is brought back into the range of pictures (Imagen, section 2.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Thresholding(ABC):
    """Applied to every predicted x_0, after guidance. A frozen dataclass of settings that is called."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, x_0: Tensor) -> Tensor:
        """Threshold float32 predictions (b c h w), each image by itself; same shape and dtype."""
