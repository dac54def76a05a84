"""How do a T5's weights move between devices? As a torch module whose `.to` moves them as stored, each on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from .stored_weight import FloatWeight, StoredWeight
from .t5 import EncoderNetwork
from .t5_weights import WeightsInMemory


class MovableWeight(nn.Module):
    """A weight that is wherever `.to` brought it. GGUF blocks stay in main memory, and visit the device."""

    def __init__(self, weight: StoredWeight) -> None:
        super().__init__()
        self._weight = weight
        if isinstance(weight, FloatWeight):
            self.stored = nn.Parameter(weight.stored, requires_grad=False)
            self.scale = None if weight.scale is None else nn.Parameter(weight.scale, requires_grad=False)
            self._weight = None  # the module's own tensors are the only ones

    @property
    def nbytes(self) -> int:
        return self._here().nbytes

    def dense(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        return self._here().dense(device, dtype)

    def rows(self, index: Tensor) -> StoredWeight:
        return self._here().rows(index)

    def _here(self) -> StoredWeight:
        return self._weight or FloatWeight(stored=self.stored, scale=self.scale)


class MovableWeights(nn.Module):
    """Every weight of a T5 by its name, read now. As a mapping it serves T5Network; a Mapping it cannot be, which has
    no hash.
    """

    fetched_one_by_one = True  # each weight by itself, when a layer asks for it

    def __init__(self, weights: Mapping[str, StoredWeight]) -> None:
        super().__init__()
        self.by_name = nn.ModuleDict({name.replace(".", "/"): MovableWeight(weights[name]) for name in weights})

    def __getitem__(self, name: str) -> StoredWeight:
        return self.by_name[name.replace(".", "/")]

    def __iter__(self) -> Iterator[str]:
        return (name.replace("/", ".") for name in self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)


def movable_weights(network: EncoderNetwork) -> nn.Module | None:
    """Put the network's weights into a module, from which it takes them from now on; None where they rest on the disk.

    Weights shared with another network are read again, so that moving these moves no others. A network that is a module
    (a CLIP's tower, transformers') moves itself no longer.
    """
    if hasattr(network, "visits"):
        network.visits = False
        return network.module
    if not isinstance(getattr(network, "weights", None), WeightsInMemory):
        return None
    network.weights = MovableWeights(network.weights.source)
    return network.weights
