"""How are the tensors of one model read from its safetensors files, or (asked for by name) from torch archives?"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .._safetensors import DTYPES, SafetensorsFile, aligned, dtype_name, opened
from .int8 import scale_of, scaled
from .plausible import finite

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


class Weights(Protocol):
    """Named tensors on disk; `shapes` and `dtypes` are known without reading them."""

    files: list[Path]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]  # of a safetensors file's header; of several files the first one's
    scales: dict[str, str]  # what the scales of int8 weights are called: no weights of their own

    def read(self, key: str, dtype: torch.dtype) -> Tensor:
        """One tensor as `dtype`, on a boundary (see _safetensors)."""
        ...


@contextmanager
def open_weights(files: list[Path]) -> Iterator[Weights]:
    """The tensors of `files`, all safetensors or all torch archives (.bin), memory-mapped.

    Raises FileNotFoundError for a missing file and ValueError, naming the file, for a damaged or foreign one and for a
    key that two files hold.
    """
    if any(file.suffix == ".bin" for file in files):
        yield _Archive(files)
        return
    with ExitStack() as stack:
        yield _Safetensors([stack.enter_context(opened(file)) for file in files])


class _Safetensors:
    def __init__(self, files: list[SafetensorsFile]) -> None:
        self.files = [file.path for file in files]
        self.metadata = files[0].metadata
        self._where: dict[str, SafetensorsFile] = {}
        for file in files:
            for key in file.shapes:
                _refuse_twice(key, self._where, file.path)
                self._where[key] = file
        dtypes = {key: file.dtypes[key] for key, file in self._where.items()}
        found = {key: scale_of(key, dtypes) for key, kind in dtypes.items() if kind == "I8"}
        self.scales = {key: scale for key, scale in found.items() if scale is not None}
        self.dtypes = {key: kind for key, kind in dtypes.items() if key not in self.scales.values()}
        self.shapes = {key: self._where[key].shapes[key] for key in self.dtypes}

    def read(self, key: str, dtype: torch.dtype) -> Tensor:
        mapped = len(self.shapes[key]) != 4
        if key not in self.scales:
            return self._where[key].read(key, dtype, mapped=mapped)
        scale = self._where[self.scales[key]].read(self.scales[key])
        if scale.numel() not in (1, self.shapes[key][0]):
            raise ValueError(
                f"{self.files[0]}: {self.scales[key]!r} has shape {tuple(scale.shape)}, expected one number or one a row "
                f"of {self.shapes[key][0]}; get the file again"
            )
        return scaled(self._where[key].read(key, mapped=mapped), scale, dtype)


class _Archive:
    """Files that torch.save wrote, read by an unpickler that builds nothing but tensors."""

    metadata: dict[str, str] = {}
    scales: dict[str, str] = {}

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self._tensors: dict[str, Tensor] = {}
        for file in files:
            for key, tensor in _table_in(file).items():
                _refuse_twice(key, self._tensors, file)
                self._tensors[key] = tensor
        self.shapes = {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}
        self.dtypes = {key: dtype_name(tensor.dtype) for key, tensor in self._tensors.items()}

    def read(self, key: str, dtype: torch.dtype) -> Tensor:
        return aligned(self._tensors[key].to(dtype))


class Beside:
    """Weights, and those of other files behind a prefix: what was published in parts."""

    def __init__(self, first: Weights, others: dict[str, Weights]) -> None:
        self._parts = {"": first, **others}
        self.files = [file for part in self._parts.values() for file in part.files]
        self.metadata = first.metadata
        self.shapes = self._joined("shapes")
        self.dtypes = self._joined("dtypes")
        self.scales = self._joined("scales")
        self._where = {f"{prefix}{key}": (part, key) for prefix, part in self._parts.items() for key in part.shapes}

    def _joined(self, name: str) -> dict[str, Any]:
        return {
            f"{prefix}{key}": value
            for prefix, part in self._parts.items()
            for key, value in getattr(part, name).items()
        }

    def read(self, key: str, dtype: torch.dtype) -> Tensor:
        part, inside = self._where[key]
        return part.read(inside, dtype)


def _table_in(file: Path) -> dict[str, Tensor]:
    loaded = load_archive(file, mapped=True)
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"{file} is no plain table of weights: get the .safetensors file")
    return loaded


def _refuse_twice(key: str, known: dict[str, Any], file: Path) -> None:
    if key in known:
        raise ValueError(f"{file}: {key!r} is also in another file of this model; keep one of them")


def load_archive(file: Path, *, mapped: bool = False, allowed: Sequence[Any] = ()) -> Any:
    """What torch.save wrote, by an unpickler that builds tensors and their containers, and the types `allowed`.

    mapped: into memory, read as it is needed. Raises FileNotFoundError, or ValueError naming the file and what is wrong.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file at {file}: check the name, or put the file there")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds more than weights, or is no torch archive, and is refused, for it could run any code "
            f"({_reason(error)}): get the .safetensors file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        older = f", or too old to be mapped into memory: then `imagen convert {file.name}` reads it" if mapped else ""
        raise ValueError(f"{file} is truncated or damaged ({_reason(error)}): download it again{older}") from error


def _reason(error: Exception) -> str:
    """What of torch's long message says which type it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "GLOBAL" in line or "global" in line), lines[0])[:200]


def read_float(weights: Weights, key: str, dtype: torch.dtype) -> Tensor:
    """One tensor as `dtype`; ValueError for one that is neither a floating-point number nor int8 with its scale."""
    if DTYPES.get(weights.dtypes[key]) not in FLOATS and key not in weights.scales:
        raise ValueError(
            f"{weights.files[0]}: {key!r} is stored as {weights.dtypes[key]}, a quantised form that this pack does not"
            " read for U-Nets; get the fp16 or fp32 file"
        )
    return finite(weights.read(key, dtype), weights.files[0], key)
