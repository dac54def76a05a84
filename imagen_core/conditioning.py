"""What is a network told besides the noisy picture and the time? Sorted by where it enters, not by what it means.

Shapes: b batch, l tokens, d text width, n attention heads, k head width, e time embedding, c h w a picture.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TextEmbeds:
    """A text encoder's output: `embeds` (b l d), `mask` (b l) bool, True where a token is real.

    pooled: (b e) the whole text in the space that it shares with pictures, not normalised; of a CLIP with its projection.
    """

    embeds: Tensor
    mask: Tensor
    pooled: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None) -> TextEmbeds:
        """The same on a device, its numbers as `dtype`; None keeps them as they are, for a network that reads token ids."""
        dtype = dtype or self.embeds.dtype
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return TextEmbeds(embeds=self.embeds.to(device, dtype), mask=self.mask.to(device), pooled=pooled)

    @staticmethod
    def null(batch: int, dim: int, *, device: torch.device | str = "cpu") -> TextEmbeds:
        """The unconditional prompt: one token of zeros (Imagen zeroes the embeddings, section 2.2)."""
        return TextEmbeds(
            embeds=torch.zeros(batch, 1, dim, device=device),
            mask=torch.ones(batch, 1, dtype=torch.bool, device=device),
        )


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a network's attention layers read, projected once and reused at every step."""

    keys_values: tuple[tuple[Tensor, Tensor], ...]  # one (keys, values) pair a layer, each (b n l k), in their order
    mask: Tensor | None = None  # (b l) bool, True where a token is real; None promises that all are
    weight: float | Tensor = 1.0  # of what is read, where they have a softmax of their own; or one an image, (b 1 1 1)
    where: Tensor | None = None  # (b 1 h w) in [0, 1] over the picture in whole cells: which positions read them
    # Of what is beside the text: whether it is read in its place, under its softmax, as far as `weight` and `where` say
    instead: bool = False
    layers: tuple[float, ...] | None = None  # ... and in each layer, by what the weight is multiplied; None: 1

    @property
    def length(self) -> int:
        return self.keys_values[0][0].shape[-2] if self.keys_values else 0

    def padded_to(self, length: int) -> Tokens:
        """Zeros appended that the mask says are no tokens."""
        if not self.keys_values:
            return self
        missing = length - self.length
        longer = tuple(tuple(F.pad(part, (0, 0, 0, missing)) for part in pair) for pair in self.keys_values)
        mask = F.pad(self._whole_mask(), (0, missing))
        return dataclasses.replace(self, keys_values=longer, mask=mask)

    def __add__(self, other: Tokens) -> Tokens:
        """Both, read under one softmax."""
        pairs = zip(self.keys_values, other.keys_values, strict=True)
        both = tuple(tuple(torch.cat(part, dim=-2) for part in zip(*pair, strict=True)) for pair in pairs)
        if self.mask is None and other.mask is None:
            return dataclasses.replace(self, keys_values=both)
        mask = torch.cat([self._whole_mask(), other._whole_mask()], dim=1)
        return dataclasses.replace(self, keys_values=both, mask=mask)

    def _whole_mask(self) -> Tensor:
        if self.mask is not None:
            return self.mask
        keys = self.keys_values[0][0]
        return torch.ones(keys.shape[0], self.length, dtype=torch.bool, device=keys.device)

    @staticmethod
    def aligned(parts: Sequence[Tokens]) -> Sequence[Tokens]:
        """The same of one length, so that they may be joined along the batch; with masks only where some need one."""
        lengths = [part.length for part in parts]
        if len(set(lengths)) == 1 and all(part.mask is None for part in parts):
            return parts
        return [part.padded_to(max(lengths)) for part in parts]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a picture of `size` (h, w)."""

    rows: slice
    columns: slice
    size: tuple[int, int]

    def of(self, plane: Tensor) -> Tensor:
        """What of a plane (b c y x) lies there: pixels, or cells that cover the picture, the last perhaps padded."""
        if plane.ndim != 4:
            raise ValueError(f"positions in a row {tuple(plane.shape)} are not cut into tiles: draw it in one piece")
        spans = zip((self.rows, self.columns), self.size, plane.shape[-2:], strict=True)
        rows, columns = (_cells(*span) for span in spans)
        return plane[..., rows, columns].contiguous()


def _cells(span: slice, length: int, cells: int) -> slice:
    """A span of `length` pixels in cells, whose side is a power of two: networks pad the picture to whole ones."""
    side = 1 << (-(-length // cells) - 1).bit_length()
    return slice(span.start // side, cells if span.stop == length else span.stop // side)


@dataclass(frozen=True, kw_only=True)
class Signals:
    """One forward pass's conditions; `a + b` is both. A field that is not there costs nothing."""

    vector: Tensor | None = None  # (b e) beside the time: pooled text, a class, the embedding of a picture
    aug_level: Tensor | None = None  # (b,) in [0, 1] beside the time, a scalar that the network embeds itself
    tokens: Tokens | None = None  # read together with the picture's own positions: text
    beside: tuple[Tokens, ...] = ()  # read by the same queries under a softmax of their own, weighted and added
    pixels: Tensor | None = (
        None  # (b c h w) joined to x_t at the stem: a small picture enlarged, x_0 as believed before
    )
    features: Mapping[str, Tensor] = field(default_factory=dict)  # added where they are named
    steering: tuple[Any, ...] = ()  # steering.Steering: adapters that are asked for more of these at every call

    def __add__(self, other: Signals) -> Signals:
        return Signals(
            vector=_either(self.vector, other.vector, torch.add),
            aug_level=_either(self.aug_level, other.aug_level, torch.maximum),
            tokens=_either(self.tokens, other.tokens, operator.add),
            beside=self.beside + other.beside,
            pixels=_either(self.pixels, other.pixels, lambda a, b: torch.cat([a, b], dim=1)),
            features={
                name: _either(self.features.get(name), other.features.get(name), torch.add)
                for name in {**self.features, **other.features}
            },
            steering=self.steering + other.steering,
        )

    def added(self, name: str, x: Tensor) -> Tensor:
        """x, (b c h w) or positions (b m c), and the feature of this name on top of it if there is one."""
        feature = self.features.get(name)
        return x if feature is None else x + feature.to(x.dtype)

    def cropped(self, window: Window) -> Signals:
        """The same for a part of the picture: what lies on its pixels, or on coarser cells, is cut; so is what steers."""
        return dataclasses.replace(
            self,
            pixels=None if self.pixels is None else window.of(self.pixels),
            features={name: window.of(feature) for name, feature in self.features.items()},
            steering=tuple(each.cropped(window) for each in self.steering),
        )


def _either(a: T | None, b: T | None, both: Callable[[T, T], T]) -> T | None:
    return b if a is None else a if b is None else both(a, b)


def joined(parts: Sequence[T]) -> T:
    """The same structures with every tensor joined along the batch: conditional and null as one."""
    return parts[0] if len(parts) == 1 else mapped(lambda *tensors: torch.cat(tensors), *parts)


def repeated(value: T, count: int) -> T:
    """Every tensor of a structure `count` times along the batch, each image's copies side by side."""
    return mapped(lambda tensor: tensor.repeat_interleave(count, 0), value)


def part_of(value: T, part: slice) -> T:
    """The images `part` of every tensor in a structure."""
    return mapped(lambda tensor: tensor[part], value)


def mapped(function: Callable[..., Tensor], *values: Any) -> Any:
    """`function` of the tensors at the same place of each structure: dataclasses, tuples and mappings of tensors.

    Every tensor has the batch first. Raises ValueError where the structures differ.
    """
    first = values[0]
    if any(type(value) is not type(first) for value in values):
        kinds = " and ".join(type(value).__name__ for value in values)
        raise ValueError(f"{kinds} cannot be one batch: tell every branch the same kinds of signals")
    if isinstance(first, Tensor):
        return function(*values)
    if isinstance(first, tuple):
        return tuple(mapped(function, *items) for items in zip(*values, strict=True))
    if isinstance(first, Mapping):
        return {name: mapped(function, *(value[name] for value in values)) for name in first}
    if dataclasses.is_dataclass(first):
        values = first.aligned(values) if isinstance(first, Tokens) and len(values) > 1 else values
        names = [each.name for each in dataclasses.fields(first)]
        parts = {name: mapped(function, *(getattr(value, name) for value in values)) for name in names}
        return dataclasses.replace(first, **parts)
    return first


def aug_level_to_timestep(aug_level: Tensor) -> Tensor:
    """aug_level (b,) in [0, 1] as DeepFloyd IF's noise level (b,): int(1000 aug_level), at most 999, float32.

    The thousandth makes up for float32, in which 0.29 is a little less than it says.
    """
    return (aug_level.double() * 1000.0 + 1e-3).floor().clamp(0.0, 999.0).float()
