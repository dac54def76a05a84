"""Which stored tensors make up each tensor of a network, and are they all there, of the right shape?

A key map names, for each key of our network, the keys of the file with their shapes, and how their tensors are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .._safetensors import aligned
from ..eight_bits import SCALE, WEIGHT, eight_bit_layers, rounded
from .weights import Weights, read_float

Parts = dict[str, tuple[int, ...]]
Join = Callable[[list[Tensor]], Tensor]


def joined(tensors: list[Tensor]) -> Tensor:
    """Along the first axis; a tensor that is alone is not copied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


@dataclass(frozen=True)
class Entry:
    """Where one of our tensors comes from."""

    parts: Parts  # stored keys, each with the shape that it has to have, in the order in which `join` takes them
    join: Join = joined


KeyMap = dict[str, Entry]


def same_keys(network: nn.Module) -> KeyMap:
    """The map of a file that calls every tensor as our network does."""
    return {key: Entry({key: tuple(tensor.shape)}) for key, tensor in network.state_dict().items()}


def prefixed(table: KeyMap, ours: str = "", theirs: str = "") -> KeyMap:
    """The map of a part of a network, or of a file whose names all begin with `theirs`."""
    return {
        f"{ours}{key}": Entry({f"{theirs}{part}": shape for part, shape in entry.parts.items()}, entry.join)
        for key, entry in table.items()
    }


def stacked(keys: list[str], shape: tuple[int, ...]) -> Entry:
    """Tensors of one size, joined along their first axis to `shape`: q, k and v that are stored apart."""
    return Entry({key: (shape[0] // len(keys), *shape[1:]) for key in keys})


def flat(tensors: list[Tensor]) -> Tensor:
    """The weight of a convolution of width 1 (o i 1 ..), or a bias (o), as that of a linear layer: (o i) or (o)."""
    (tensor,) = tensors
    return tensor.flatten(1) if tensor.ndim > 1 else tensor


def parts_first(parts: int, heads: int) -> Join:
    """Rows that are stored head by head (q k v of the first head, then of the second) -> all q, then all k, then all v.

    ADM's "legacy" order and GLIDE's; weights of convolutions of width 1 become those of a linear layer on the way.
    """

    def join(tensors: list[Tensor]) -> Tensor:
        rows = flat(tensors)
        return rows.unflatten(0, (heads, parts, -1)).transpose(0, 1).flatten(0, 2)  # parts*heads*k ...

    return join


def load_weights(network: nn.Module, weights: Weights, key_map: KeyMap, path: Path, dtype: torch.dtype) -> None:
    """Fill a network that was built without memory, one weight at a time, as `dtype`.

    Layers that keep theirs in eight bits are filled from the full weight, which is let go at once.

    Raises ValueError naming `path` and the key for missing, unexpected and quantised weights and for wrong shapes.
    """
    check_keys(path, weights, key_map.values())
    small = eight_bit_layers(network)
    ready = {}
    for key, entry in key_map.items():
        layer, _, name = key.rpartition(".")
        coarse = layer in small and name == WEIGHT
        kept = torch.float32 if coarse else dtype
        tensor = as_parameter(entry.join([read_float(weights, part, kept) for part in entry.parts]))
        if coarse:
            ready[key], ready[f"{layer}.{SCALE}"] = rounded(tensor, dtype)
        else:
            ready[key] = tensor
    network.load_state_dict(ready, assign=True)


def as_parameter(tensor: Tensor) -> Tensor:
    """The weight as networks keep it: convolutions with channels last, on a boundary; itself where it is so already."""
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return aligned(tensor.contiguous(memory_format=layout))


def check_keys(path: Path, weights: Weights, entries: Iterable[Entry]) -> None:
    """Raise ValueError naming `path` and a key that is missing, unexpected or of another shape."""
    expected = {key: shape for entry in entries for key, shape in entry.parts.items()}
    stored = weights.shapes
    lacking, unexpected = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    for problem, keys in (("lacks", lacking), ("has unexpected", unexpected)):
        if keys:
            raise ValueError(
                f"{path} {problem} {len(keys)} weights of its {len(expected)}, first {min(keys)!r}, being damaged or "
                "from another version: download it again, or update"
            )
    for key, shape in expected.items():
        if stored[key] != shape:
            raise ValueError(
                f"{path}: {key!r} has shape {stored[key]}, its settings ask for {shape}; it is damaged, or its settings "
                "are another model's: download both again"
            )
