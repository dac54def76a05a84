"""Where does randomness come from? One generator an image, so that a seed draws one picture in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class BatchNoise:
    """A stream of unit Gaussian noise an image; image i's stream depends on `seeds[i]` alone.

    The generators live on the CPU, whatever the device, because other devices draw other numbers from the same seed.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        if len(seeds) == 0:
            raise ValueError("no seeds: give one integer an image")
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self._generators)

    def __call__(self, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """The next noise of every image: (b, *shape) float32 on `device`; `shape` is one image's, (c, h, w)."""
        draws = [torch.randn(shape, generator=generator, dtype=torch.float32) for generator in self._generators]
        return torch.stack(draws).to(device)
