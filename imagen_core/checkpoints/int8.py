"""How are weights kept in eight bits? Each row times a scale of its own, under the names that ComfyUI's int8 files have.

`NAME.weight` is int8 (n ..), `NAME.weight_scale` float32 (n 1), and the weight is their product. A row is all that one
output is made of, so that a large weight coarsens none but its own output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

WEIGHT, SCALE = ".weight", ".weight_scale"
LARGE = 4096  # numbers: smaller weights are not worth storing in eight bits


def int8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (n ..) -> int8 (n ..) and scale (n 1) with weight ~ int8 * scale; the largest of a row is 127."""
    rows = weight.flatten(1).float()
    scale = (rows.abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
    return (rows / scale).round().clamp(-127, 127).to(torch.int8).view(weight.shape), scale


def in_eight_bits(tensors: Mapping[str, Tensor], in_float16: Collection[str] = ()) -> dict[str, Tensor]:
    """A network's tensors as its file keeps them: what is large in int8 with a scale a row, the rest in float16.

    in_float16: keys of the rest besides. A layer that reads or paints pixels is one tenth of a network, and its rounding
    is what one sees (sr256: half a decibel).
    """
    stored = {}
    for key, tensor in tensors.items():
        if key.endswith(WEIGHT) and tensor.ndim > 1 and tensor.numel() >= LARGE and key not in in_float16:
            stored[key], stored[key.removesuffix(WEIGHT) + SCALE] = int8_rows(tensor)
        else:
            stored[key] = tensor.half()
    return stored


def scale_of(key: str, keys: Mapping[str, object]) -> str | None:
    """What the scale of a stored weight is called, where it has one."""
    name = key.removesuffix(WEIGHT) + SCALE
    return name if key.endswith(WEIGHT) and name in keys else None


def scaled(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 (n ..) times its scale, one number or one a row, as `dtype`."""
    factor = scale.float().reshape(-1, *(1,) * (weight.ndim - 1))
    return (weight.float() * factor).to(dtype)
