"""How are weights kept as their difference from those of a file beside them? Low-rank factors and a few whole tensors.

W = W_base + up down for the large weights (LoRA: arXiv 2106.09685, section 4.1); what has another shape than in the base, or
is too small for factors, is there whole. Tensors: LAYER.change_up.weight, LAYER.change_down.weight, and KEY as the
network calls it; what is large in int8 (`int8.py`). Metadata: base_file, the base's name; base (JSON), its fingerprint.

Shapes: o outputs, i inputs and k x k the kernel of a layer, r the rank. down is (r i) or (r i k k), up (o r).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...fingerprint import Fingerprint, check_same, fingerprint_of
from ..int8 import in_eight_bits
from ..key_map import KeyMap, check_keys
from ..plausible import built_empty
from ..stored import Stored, stored_at
from ..weights import Weights, read_float
from .native import NativeReader, entry

BASE_FILE = "base_file"
UP, DOWN, WEIGHT = ".change_up.weight", ".change_down.weight", ".weight"


class Factors(NamedTuple):
    """The change of one layer's weight. (Not lora's own: readers come before stages, and LoRAs are made for those.)"""

    up: Tensor
    down: Tensor

    def delta(self) -> Tensor:
        """What is added to the weight, in float32: (o i) or (o i k k)."""
        product = self.up.float() @ self.down.float().flatten(1)  # o i*k*k
        return product.view(len(self.up), *self.down.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a network has that its base has not."""

    factors: Mapping[str, Factors]  # by the name of the layer
    whole: Mapping[str, Tensor]  # by the name of the tensor

    def stored(self) -> dict[str, Tensor]:
        """What a file keeps: what is large in int8, the rest in float16."""
        tensors = dict(self.whole)
        for name, factors in self.factors.items():
            tensors[f"{name}{UP}"], tensors[f"{name}{DOWN}"] = factors
        eight_bits = in_eight_bits({key: tensor.detach().cpu() for key, tensor in tensors.items()})
        return {key: part.contiguous() for key, part in eight_bits.items()}

    @staticmethod
    def of(stored: Stored) -> Learned:
        """What a file keeps, in float32. ValueError for a damaged one."""
        weights = stored.weights
        rest = [key for key in weights.shapes if not key.endswith((UP, DOWN))]
        return Learned(
            factors={name: factors_of(weights, name) for name in changed_layers(stored)},
            whole={key: read_float(weights, key, torch.float32) for key in rest},
        )


def base_file_of(stored: Stored) -> str:
    """The name of the base's file, which lies in the same folder. ValueError for anything else."""
    base = entry(stored.metadata, BASE_FILE)
    if not _is_file_name(base):
        raise ValueError(f"metadata {BASE_FILE!r} is {base!r}, expected a file's name: download the file again")
    return base


def base_beside(stored: Stored) -> list[Path]:
    """The base's file, where these weights are a change of one and it is there."""
    name = stored.metadata.get(BASE_FILE, "")
    return [stored.folder / name] if _is_file_name(name) and (stored.folder / name).is_file() else []


def _is_file_name(name: str) -> bool:
    """Whether it can only be a file in the same folder, on every system."""
    inside = not set(name) & set("/\\:") and name.isprintable() and len(name.encode()) < 256
    return inside and bool(name.strip("."))


def changed_layers(stored: Stored) -> list[str]:
    """The layers that have factors, in order. ValueError where one of a pair is not there, or they do not match."""
    shapes = stored.shapes
    names = sorted({key.removesuffix(end) for key in shapes for end in (UP, DOWN) if key.endswith(end)})
    for name in names:
        for key in (f"{name}{UP}", f"{name}{DOWN}"):
            if key not in shapes:
                raise ValueError(f"{stored.path} lacks {key!r}, being damaged: download or train it again")
        up, down = shapes[f"{name}{UP}"], shapes[f"{name}{DOWN}"]
        if len(up) != 2 or len(down) < 2 or up[1] != down[0]:
            raise ValueError(
                f"{stored.path}: {name + UP!r} has shape {up} and {name + DOWN!r} {down}, which are no two factors of a "
                "weight; download or train it again"
            )
    return names


def factors_of(weights: Weights, name: str) -> Factors:
    return Factors(*(read_float(weights, f"{name}{end}", torch.float32) for end in (UP, DOWN)))


@contextmanager
def merged(
    stored: Stored, base: Path, known: Fingerprint, *, prefix: str = "", wanted: Collection[str] | None = None
) -> Iterator[Weights]:
    """The weights of base and change together. ValueError where the base is missing, or is another.

    prefix: what stands before the base's keys in the network that is changed. wanted: of those keys, the ones it has;
    None is all.
    """
    if not base.exists():
        raise ValueError(
            f"{stored.path} is kept as a change of {base.name}, which is not beside it: put {base.name} into "
            f"{stored.folder}, or choose another checkpoint"
        )
    with stored_at(base) as below:
        if not NativeReader().matches(below):
            raise ValueError(
                f"{stored.path} is kept as a change of {base.name}, and what is called so beside it is no whole Imagen "
                "stage: put the one there that it was made from"
            )
        beneath = _Beneath.of(below, prefix, wanted)
        try:
            check_same(known, beneath.fingerprint(), "this change")
        except ValueError as error:
            raise ValueError(
                f"{stored.path} is kept as a change of {base.name}, and the one beside it is another: put the one there "
                "that it was made from, or get both again"
            ) from error
        yield _Merged(stored, beneath)


@dataclass(frozen=True)
class _Beneath:
    """The base's weights, as our network calls them."""

    stage: str
    weights: Weights
    key_map: KeyMap
    whole: dict[str, tuple[int, ...]]  # the shapes of all
    shapes: dict[str, tuple[int, ...]]  # of what is changed, by its names there
    prefix: str

    @staticmethod
    def of(stored: Stored, prefix: str, wanted: Collection[str] | None) -> _Beneath:
        reading = NativeReader().read(stored)
        network = built_empty(reading.build, stored.path)
        key_map = reading.key_map(network)
        check_keys(stored.path, stored.weights, key_map.values())
        shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        there = {f"{prefix}{key}": shape for key, shape in shapes.items()}
        there = {key: shape for key, shape in there.items() if wanted is None or key in wanted}
        return _Beneath(reading.spec.stage, stored.weights, key_map, shapes, there, prefix)

    def read(self, key: str) -> Tensor:
        """One of `shapes`, in float32."""
        return self._read(key.removeprefix(self.prefix))

    def _read(self, key: str) -> Tensor:
        place = self.key_map[key]
        return place.join([read_float(self.weights, part, torch.float32) for part in place.parts])

    def fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.stage, self.whole, self._read)


class _Merged:
    """A change and its base as the `Weights` of one network; what is added is added in float32, and rounded once."""

    def __init__(self, stored: Stored, base: _Beneath) -> None:
        self._own, self._base = stored.weights, base
        self._layers = set(changed_layers(stored))
        self._whole = {key for key in stored.shapes if not key.endswith((UP, DOWN))}
        for name in sorted(self._layers):
            self._check_place(stored, name)
        own = self._own
        self.files = [*own.files, *base.weights.files]
        self.metadata = own.metadata
        self.scales = own.scales
        self.shapes = base.shapes | {key: own.shapes[key] for key in self._whole}
        self.dtypes = dict.fromkeys(base.shapes, "F32") | {key: own.dtypes[key] for key in self._whole}

    def _check_place(self, stored: Stored, name: str) -> None:
        shape = (stored.shapes[f"{name}{UP}"][0], *stored.shapes[f"{name}{DOWN}"][1:])
        there = self._base.shapes.get(f"{name}{WEIGHT}")
        if there != shape or f"{name}{WEIGHT}" in self._whole:
            here = "there is no such layer" if there is None else f"it is {there}"
            raise ValueError(
                f"{stored.path}: {name + UP!r} and {name + DOWN!r} change a weight of shape {shape}, and in its base {here}"
                ", or it is stored whole besides; download or train it again"
            )

    def read(self, key: str, dtype: torch.dtype) -> Tensor:
        """One tensor of the merged network."""
        if key in self._whole:
            return self._own.read(key, dtype)
        tensor, layer = self._base.read(key), key.removesuffix(WEIGHT)
        if key.endswith(WEIGHT) and layer in self._layers:
            tensor = tensor + factors_of(self._own, layer).delta()
        return tensor.to(dtype)
