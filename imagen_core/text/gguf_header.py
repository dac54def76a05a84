"""What does the header of a .gguf file say: its metadata, and where each tensor lies? (The GGUF format, versions 2 and 3.)

Read here and not by the gguf package, whose reader makes an object of every element: 20 seconds for T5's vocabulary.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4  # of a ggml tensor
_LARGEST = 2**28  # bytes of one entry in a header


@dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """`shape` as torch orders it (rows first); `kind` the number of a ggml type; `offset` from the file's start."""

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """`metadata` by key: numbers, strings, numpy arrays, lists of strings."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf_header(path: Path) -> GgufHeader:
    """Raises ValueError, naming the file, where it ends too early or is no GGUF."""
    try:
        with open(path, "rb") as stream:
            return _Reader(stream, path.stat().st_size).header()
    except (ValueError, struct.error) as error:
        raise ValueError(f"{path} is truncated, or no .gguf file ({error}): download or copy it again") from error


class _Reader:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size

    def header(self) -> GgufHeader:
        if self.take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self.number("<u4")
        if version not in (2, 3):
            raise ValueError(f"version {version}, expected 2 or 3 in little-endian order")
        tensors, fields = self.number("<u8"), self.number("<u8")
        metadata: dict[str, Any] = {}
        for _ in range(fields):  # an absurd count ends at the end of the file
            key = self.string()
            metadata[key] = self.value(self.number("<u4"))
        placed = [self.tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"an alignment of {alignment!r}")
        start = math.ceil(self.stream.tell() / alignment) * alignment
        return GgufHeader(
            metadata=metadata,
            tensors={
                name: GgufTensor(shape=shape, kind=kind, offset=start + offset) for name, shape, kind, offset in placed
            },
        )

    def take(self, count: int) -> bytes:
        if count > min(self.size - self.stream.tell(), _LARGEST):
            raise ValueError("it ends within the header")
        return self.stream.read(count)

    def number(self, dtype: str) -> Any:
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(kind.itemsize), kind)[0].item()

    def string(self) -> str:
        return self.take(self.number("<u8")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(self.number("<u4"), self.number("<u8"))
        if kind not in _SCALARS:
            raise ValueError(f"metadata of type {kind}")
        return self.number(_SCALARS[kind])

    def array(self, kind: int, count: int) -> Any:
        if kind in _SCALARS:
            dtype = np.dtype(_SCALARS[kind])
            return np.frombuffer(self.take(count * dtype.itemsize), dtype)
        if kind != _STRING:
            raise ValueError(f"an array of type {kind}")
        return [self.string() for _ in range(count)]

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self.string(), self.number("<u4")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        shape = tuple(reversed([self.number("<u8") for _ in range(dimensions)]))
        return name, shape, self.number("<u4"), self.number("<u8")
