"""Which weights does a file hold, and how is one of them read, without reading the others? .safetensors and .gguf.

Opening reads the header only and checks that the file is whole; every `read` then opens the file anew, so that no
mapping keeps pages in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from .stored_weight import FloatWeight, GgufWeight, StoredWeight

_GGUF_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_FLOAT_NAMES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # as safetensors calls them
_SCALES = (".scale_weight", ".weight_scale")  # of ComfyUI's "fp8 scaled" files, older and newer


class Archive(Protocol):
    """One file of weights: `shapes` by name, as the file names them."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    def check(self, name: str) -> None:
        """Raise ValueError when `name` is stored in a form that `read` cannot make sense of."""
        ...

    def read(self, name: str) -> StoredWeight: ...


def open_archive(path: Path) -> Archive:
    """Open by ending. Raises FileNotFoundError, or ValueError for a file that is no archive or not whole."""
    if not path.is_file():
        raise FileNotFoundError(f"No text encoder at {path}; check the name, or put the file there.")
    return open_gguf(path) if path.suffix.lower() == ".gguf" else SafetensorsArchive(path)


class SafetensorsArchive:
    """A .safetensors file; fp8 weights come with their scales."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}
        try:
            with safe_open(path, framework="pt", device="cpu") as archive:
                for key in sorted(archive.keys()):
                    entry = archive.get_slice(key)
                    self.shapes[key], self._dtypes[key] = tuple(entry.get_shape()), entry.get_dtype()
        except SafetensorError as error:
            raise ValueError(
                f"{path} is truncated, or no .safetensors file ({error}); download or copy it again."
            ) from error
        self._scaled = any(key.endswith("scaled_fp8") for key in self.shapes)

    def check(self, name: str) -> None:
        kind = self._dtypes[name]
        if kind not in _FLOAT_NAMES:
            raise ValueError(
                f"{self.path}: {name!r} holds {kind} numbers (a bitsandbytes file?), which are not read here; get the "
                "fp16 or fp8 file, or a .gguf."
            )
        looked_up = name.endswith(("shared.weight", "embed_tokens.weight", "attention_bias.weight"))  # never scaled
        if self._scaled and kind.startswith("F8") and not looked_up and self._scale_of(name) is None:
            raise ValueError(
                f"{self.path} says that its fp8 weights are scaled, and {name!r} has no scale; get the file again."
            )

    def _scale_of(self, name: str) -> str | None:
        layer = name.removesuffix(".weight")
        return next((layer + ending for ending in _SCALES if layer + ending in self.shapes), None)

    def read(self, name: str) -> FloatWeight:
        scale = self._scale_of(name)
        try:
            with safe_open(self.path, framework="pt", device="cpu") as archive:
                stored = archive.get_tensor(name)
                factor = None if scale is None else archive.get_tensor(scale)
        except (SafetensorError, OSError) as error:  # the file changed since it was opened
            raise ValueError(f"{self.path}: {name!r} cannot be read ({error}); copy the file again.") from error
        if factor is not None and factor.numel() > 1:
            factor = factor.reshape(-1, 1)  # one scale a row
        return FloatWeight(stored=stored, scale=factor)


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Where a GGUF tensor lies: `kind` a GGMLQuantizationType, `rows` of `row_bytes` from `offset` on."""

    kind: Any
    offset: int
    rows: int
    row_bytes: int


class GgufArchive:
    """A .gguf file. `metadata` holds its fields (architecture, vocabulary), read when asked for."""

    def __init__(self, path: Path, reader: Any) -> None:
        import gguf

        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._placed: dict[str, _Placed] = {}
        self._fields = reader.fields
        size = path.stat().st_size
        for tensor in reader.tensors:
            shape = tuple(int(side) for side in reversed(tensor.shape))
            block, block_bytes = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
            row_bytes = shape[-1] // block * block_bytes if shape else 0
            rows = int(tensor.n_bytes) // max(row_bytes, 1)
            if int(tensor.data_offset) + int(tensor.n_bytes) > size:
                raise ValueError(f"{path} ends within {tensor.name!r}: it is truncated; download or copy it again.")
            self.shapes[tensor.name] = shape
            self._placed[tensor.name] = _Placed(
                kind=tensor.tensor_type, offset=int(tensor.data_offset), rows=rows, row_bytes=row_bytes
            )

    def check(self, name: str) -> None:
        import gguf

        kind = self._placed[name].kind
        if kind.name in _GGUF_FLOATS:
            return
        try:
            gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
        except NotImplementedError as error:
            raise ValueError(
                f"{self.path}: {name!r} is quantised as {kind.name}, which the gguf package cannot undo; get a Q8_0, "
                "Q5_K or Q4_K file."
            ) from error

    def metadata(self, key: str) -> Any:
        """A field's value (a number, a string, a list), or None if the file has no such field."""
        return None if key not in self._fields else self._fields[key].contents()

    def read(self, name: str) -> StoredWeight:
        placed = self._placed[name]
        raw = np.fromfile(self.path, np.uint8, placed.rows * placed.row_bytes, offset=placed.offset)
        if raw.size != placed.rows * placed.row_bytes:
            raise ValueError(f"{self.path}: {name!r} cannot be read; the file changed. Copy it again.")
        stored = torch.from_numpy(raw)
        if placed.kind.name in _GGUF_FLOATS:
            return FloatWeight(stored=stored.view(_GGUF_FLOATS[placed.kind.name]).reshape(self.shapes[name]))
        return GgufWeight(stored=stored.reshape(placed.rows, placed.row_bytes), kind=int(placed.kind))


def open_gguf(path: Path) -> GgufArchive:
    """Open a .gguf file. Raises ValueError without the gguf package, and for a file that is truncated or no GGUF."""
    try:
        import gguf
    except ImportError as error:
        raise ValueError(f"{path} needs the gguf package: pip install '.[gguf]', or pip install gguf.") from error
    try:
        return GgufArchive(path, gguf.GGUFReader(os.fspath(path)))
    except (IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        raise ValueError(f"{path} is truncated, or no .gguf file ({error}); download or copy it again.") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is truncated, or no .gguf file ({error}); download or copy it again.") from error
