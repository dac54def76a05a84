"""Which weights does a file hold, and how is one of them read, without reading the others? .safetensors and .gguf.

Opening reads the header only and checks that the file is whole; every `read` then opens the file anew, so that no
mapping keeps pages in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from .._safetensors import SafetensorsFile, opened, read_into_memory
from .._settings_file import parsed
from .gguf_header import read_gguf_header
from .stored_weight import FloatWeight, GgufWeight, StoredWeight

_GGUF_FLOATS = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}  # by ggml type
_FLOAT_NAMES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # as safetensors calls them
_SCALES = (".scale_weight", ".weight_scale")  # of ComfyUI's "fp8 scaled" files, older and newer
_COMFY_QUANT = ".comfy_quant"  # a layer's JSON in bytes, in files that ComfyUI quantised
_COMFY_HEADER = "_quantization_metadata"  # the same for all layers at once, in the header of others
_COMFY_READ = ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise")  # a number, times one scale or one a row
_PACKED = {  # what only files of these kinds have
    ".qweight": "4-bit integers (nunchaku, AWQ or GPTQ)",
    ".wscales": "4-bit integers (nunchaku)",
    ".SCB": "bitsandbytes' 8-bit integers",
    ".absmax": "bitsandbytes' 4-bit numbers",
    ".quant_map": "bitsandbytes' 4-bit numbers",
}


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
        raise FileNotFoundError(f"there is no file {path}: check the name, or put the file there")
    return GgufArchive(path) if path.suffix.lower() == ".gguf" else SafetensorsArchive(path)


class SafetensorsArchive:
    """A .safetensors file; fp8 weights come with their scales."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            self.shapes, self._dtypes = file.shapes, file.dtypes
            self.unread = _unread_form(file)
        self._scaled = any(key.endswith("scaled_fp8") for key in self.shapes)

    def check_form(self) -> None:
        """Raise ValueError for a file that is quantised in a form which is not read here, naming the form."""
        if self.unread is not None:
            raise ValueError(
                f"{self.path} holds {self.unread}, which are not read here: get the fp16 or fp8 file, or a .gguf"
            )

    def check(self, name: str) -> None:
        self.check_form()
        kind = self._dtypes[name]
        if kind not in _FLOAT_NAMES and not (kind == "I8" and self._scale_of(name) is not None):
            raise ValueError(
                f"{self.path}: {name!r} holds {kind} numbers (a bitsandbytes file?), which are not read here; get the "
                "fp16 or fp8 file, or a .gguf"
            )
        looked_up = name.endswith(("shared.weight", "embed_tokens.weight", "attention_bias.weight"))  # never scaled
        if self._scaled and kind.startswith("F8") and not looked_up and self._scale_of(name) is None:
            raise ValueError(
                f"{self.path} says that its fp8 weights are scaled, and {name!r} has no scale: get the file again"
            )

        scale = self._scale_of(name)
        if scale is not None and math.prod(self.shapes[scale]) not in (1, self.shapes[name][0]):
            raise ValueError(
                f"{self.path}: {scale!r} has shape {self.shapes[scale]}, expected one number or one a row; get the file "
                "again"
            )

    def _scale_of(self, name: str) -> str | None:
        layer = name.removesuffix(".weight")
        return next((layer + ending for ending in _SCALES if layer + ending in self.shapes), None)

    def read(self, name: str) -> FloatWeight:
        scale = self._scale_of(name)
        try:
            with opened(self.path) as file:
                stored = file.read(name)
                factor = None if scale is None else file.read(scale)
        except (ValueError, KeyError, OSError) as error:  # the file changed since it was opened
            raise ValueError(f"{self.path}: {name!r} cannot be read ({error}); copy the file again") from error
        if factor is not None and factor.numel() > 1:
            factor = factor.reshape(-1, 1)  # one scale a row
        return FloatWeight(stored=stored, scale=factor)


def _unread_form(file: SafetensorsFile) -> str | None:
    """What a file's weights are quantised as, if nothing here makes sense of it. Reads ComfyUI's notes of its layers."""
    for key in file.shapes:
        for ending, form in _PACKED.items():
            if key.endswith(ending):
                return form
    for note in _comfy_notes(file):
        if note not in _COMFY_READ:
            return f"ComfyUI's {note} numbers"
    return None


def _comfy_notes(file: SafetensorsFile) -> set[str]:
    """The formats that ComfyUI's notes name: in the header, which go first, or beside a layer."""
    if _COMFY_HEADER in file.metadata:
        content = parsed(file.metadata[_COMFY_HEADER], f"{file.path}: {_COMFY_HEADER}")
        layers = content.get("layers") if isinstance(content, dict) else None
        if not isinstance(layers, dict):
            return {"unknown"}
        own = {layer + _COMFY_QUANT for layer in layers}
        noted = {_format(layer) for layer in layers.values()}
    else:
        own, noted = set(), set()
    return noted | {_note(file, key) for key in file.shapes if key.endswith(_COMFY_QUANT) and key not in own}


def _note(file: SafetensorsFile, key: str) -> str:
    """The format that the note beside a layer names."""
    content = file.read(key, torch.uint8).reshape(-1)[:4096].numpy().tobytes()
    return _format(parsed(content, f"{file.path}: {key!r}"))


def _format(note: object) -> str:
    """The format that a note names; rotated int8 is another format, for its numbers alone are not the weight."""
    if not isinstance(note, dict):
        return "unknown"
    rotated = any(note.get(name) for name in ("convrot", "rotation"))
    return f"{note.get('format')}{' (rotated)' if rotated else ''}"[:60]


class GgufArchive:
    """A .gguf file. `metadata` holds its fields: architecture, vocabulary."""

    def __init__(self, path: Path) -> None:
        try:
            import gguf
        except ImportError as error:
            raise ValueError(f"{path} needs the gguf package: pip install '.[gguf]', or pip install gguf") from error
        header = read_gguf_header(path)
        self.path, self.metadata, self._tensors = path, header.metadata, header.tensors
        self.shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
        self._block_sizes = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
        size = path.stat().st_size
        for name, tensor in header.tensors.items():
            if tensor.kind in self._block_sizes and tensor.offset + math.prod(self._rows(name)) > size:
                raise ValueError(f"{path} ends within {name!r}: it is truncated; download or copy it again")

    def _rows(self, name: str) -> tuple[int, int]:
        """How many rows of how many bytes a tensor has; rows are quantised one by one."""
        tensor = self._tensors[name]
        block, block_bytes = self._block_sizes[tensor.kind]
        return math.prod(tensor.shape[:-1]), math.prod(tensor.shape[-1:]) // block * block_bytes

    def check(self, name: str) -> None:
        from gguf import GGMLQuantizationType

        tensor = self._tensors[name]
        known = tensor.kind in self._block_sizes
        label = GGMLQuantizationType(tensor.kind).name if known else f"ggml type {tensor.kind}"
        if known and tensor.shape[-1] % self._block_sizes[tensor.kind][0]:
            raise ValueError(f"{self.path}: rows of {name!r} are no whole {label} blocks; get the file again")
        if not known or not self._can_be_undone(tensor.kind):
            raise ValueError(
                f"{self.path}: {name!r} is stored as {label}, which the gguf package cannot undo; get a Q8_0, Q5_K or "
                "Q4_K file"
            )

    def _can_be_undone(self, kind: int) -> bool:
        """Whether a known kind is plain floats, or one that the gguf package dequantises: it says so only when asked to."""
        from gguf import GGMLQuantizationType, dequantize

        if kind in _GGUF_FLOATS:
            return True
        try:
            dequantize(np.zeros((1, self._block_sizes[kind][1]), np.uint8), GGMLQuantizationType(kind))
        except NotImplementedError:  # the package's word for a kind it does not know how to undo
            return False
        return True

    def read(self, name: str) -> StoredWeight:
        tensor, (rows, row_bytes) = self._tensors[name], self._rows(name)
        try:
            stored = read_into_memory(self.path, tensor.offset, rows * row_bytes)
        except (ValueError, OSError) as error:  # the file changed since it was opened
            raise ValueError(f"{self.path}: {name!r} cannot be read ({error}); copy the file again") from error
        if tensor.kind in _GGUF_FLOATS:
            return FloatWeight(stored=stored.view(_GGUF_FLOATS[tensor.kind]).reshape(tensor.shape))
        return GgufWeight(stored=stored.reshape(rows, row_bytes), kind=tensor.kind)
