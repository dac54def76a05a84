"""What is a space? Where a stage draws: what it is shaped like, and what becomes of it at the end.

Shapes: b images, c h w a picture of the size that was asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from ..thresholding import Thresholding


class Space(ABC):
    """A frozen dataclass of settings. A concrete subclass in a file of this folder is found by its `name`."""

    name: ClassVar[str]
    holds_pictures: ClassVar[bool] = False  # whether a picture is in it as it is, to start from or to keep a part of

    @abstractmethod
    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Of what is drawn for one picture of that size, by a network that reads so many channels."""

    @abstractmethod
    def finish(self, x_0: Tensor) -> Tensor:
        """What a run hands out of its last x_0: float32, on the CPU."""

    @abstractmethod
    def preview(self, x_0: Tensor) -> Tensor:
        """(b 3 h w) in [-1, 1] to look at while it is drawn."""

    @abstractmethod
    def thresholding(self) -> Thresholding:
        """Where neither a user nor the checkpoint names one."""
