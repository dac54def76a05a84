"""How does a network compute whose weights stay in eight bits? Layer by layer: each becomes `dtype` where it is used.

Weight-only, a scale a row, as files keep them (checkpoints/int8.py): memory holds a byte a weight, and one layer's weight at
a time besides. To the rest of the code such a layer is a linear layer or a convolution whose `weight` is a number as ever.

Shapes: n rows of a weight, one for each output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGE = 4096  # numbers: smaller weights stay as they are
WEIGHT, SCALE = "weight", "weight_scale"


class EightBits:
    """A layer whose weight (n ..) lies as int8 beside a scale (n 1 ..). Setting `weight` rounds it to that."""

    @property
    def weight(self) -> Tensor:
        """int8 times its scale, in the scale's dtype: made anew wherever it is asked for."""
        return self._buffers[WEIGHT] * self._buffers[SCALE]

    def __setattr__(self, name: str, value: Any) -> None:
        if name != WEIGHT:
            super().__setattr__(name, value)
        elif value.dtype == torch.int8:
            self._buffers[WEIGHT] = value
        else:
            self._buffers[WEIGHT], self._buffers[SCALE] = rounded(value.detach(), self._buffers[SCALE].dtype)


class EightBitLinear(EightBits, nn.Linear):
    """A linear layer in eight bits."""


class EightBitConv2d(EightBits, nn.Conv2d):
    """A convolution in eight bits."""


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: EightBitLinear, nn.Conv2d: EightBitConv2d}


def rounded(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """weight (n ..) as int8 (n ..) and a scale (n 1 ..) of `dtype`, with weight ~ int8 * scale.

    The scale is rounded to its dtype first, so that no row is off by that. On the meta device only shapes come out.
    """
    rows = weight.float()
    largest = rows.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True)
    scale = (largest / 127).clamp(min=torch.finfo(dtype).tiny).to(dtype)
    return (rows / scale.float()).round().clamp(-127, 127).to(torch.int8), scale


def in_eight_bits(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same network, its large linear layers and convolutions made such as keep their weight in int8; returns it.

    dtype: what they compute in. Idempotent.
    """
    for layer in network.modules():
        if type(layer) in KINDS and layer.weight.numel() >= LARGE:
            weight = layer._parameters.pop(WEIGHT)
            layer.__class__ = KINDS[type(layer)]
            layer._buffers[WEIGHT], layer._buffers[SCALE] = rounded(weight.detach(), dtype)
    return network


def eight_bit_layers(network: nn.Module) -> dict[str, EightBits]:
    """Those of a network, by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, EightBits)}


def whole_again(network: nn.Module) -> nn.Module:
    """The same network, its layers in eight bits made plain ones, each weight in the dtype it computes in; returns it."""
    for layer in eight_bit_layers(network).values():
        weight = layer.weight
        del layer._buffers[WEIGHT], layer._buffers[SCALE]
        layer.__class__ = next(plain for plain, coarse in KINDS.items() if type(layer) is coarse)
        layer.register_parameter(WEIGHT, nn.Parameter(weight, requires_grad=False))
    return network
