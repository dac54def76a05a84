"""What is asked of a stage that draws classes? Their numbers, in the place of a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Classes:
    """One class for every picture, or one for each; the stage says which there are."""

    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("no class is named: give one number, or one a picture")

    def of_each(self, batch: int) -> Tensor:
        """(b,) integers. Raises ValueError for neither one label nor `batch` of them."""
        if len(self.labels) not in (1, batch):
            raise ValueError(f"{len(self.labels)} classes for {batch} images: give one class, or one an image")
        return torch.tensor(self.labels if len(self.labels) == batch else self.labels * batch)
