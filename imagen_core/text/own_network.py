"""What do the encoders computed here share? How they are made, their activations, and a look at what comes out.

Shapes: b prompts, l tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .stored_weight import StoredWeight

Batch = tuple[Tensor, Tensor]  # token ids (b l) and mask (b l), True where a token is real


def _gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "gelu_new": _gelu_new,
}


class OwnNetwork:
    """What T5's and BERT's passes are made of.

    weights: by transformers' names. device: where it computes. dtype: of the matrix products. on_layer: told after each
    layer (done, of how many); may raise to stop.
    """

    def __init__(
        self,
        config: Any,
        weights: Mapping[str, StoredWeight],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        on_layer: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.weights, self.device, self.dtype = config, weights, torch.device(device), dtype
        self.on_layer = on_layer

    def checked(self, hidden: list[Tensor]) -> list[Tensor]:
        """The output itself; ValueError, naming file and weight, where it holds what is no number."""
        files = getattr(getattr(self.weights, "source", self.weights), "files", ["the text encoder"])
        cpu = torch.device("cpu")
        return checked(
            hidden, files[0], ((name, self.weights[name].dense(cpu, torch.float32)) for name in self.weights)
        )


@contextmanager
def visiting(network: Any) -> Iterator[None]:
    """For a call of an encoder its `module` is on its `device`, then home again; unless a host moves it."""
    if network.visits:
        network.module.to(network.device)
    try:
        yield
    finally:
        if network.visits:
            network.module.to("cpu")


def checked(hidden: Sequence[Tensor], file: object, weights: Iterable[tuple[str, Tensor]]) -> list[Tensor]:
    """An encoder's output itself. ValueError, naming the weight to blame, where it holds what is no number."""
    if all(each.isfinite().all() for each in hidden):
        return list(hidden)
    for name, weight in weights:
        if not weight.isfinite().all():
            raise ValueError(f"{file}: {name!r} holds NaN or infinite numbers; get the file again")
    raise ValueError(f"{file} computes NaN or infinite numbers from finite weights: use a wider dtype, or get it again")
