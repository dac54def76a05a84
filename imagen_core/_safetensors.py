"""How does a .safetensors file become tensors, and tensors a file, so that every weight stands on a 64-byte boundary?

A CPU's kernels round otherwise on memory that is not aligned, and a file's layout must not change a picture. A tensor that
the file has on such a boundary stays mapped; any other is read into memory of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

ALIGNMENT = 64  # bytes: a cache line, a vector register, and what torch's own memory begins at
MAX_HEADER = 100_000_000  # the limit that safetensors sets itself
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """As the format calls it; torch's own name for one that it has none for."""
    return _NAMES.get(dtype, str(dtype))


def aligned(tensor: Tensor) -> Tensor:
    """The tensor itself where its memory begins on a boundary, else a copy that does."""
    return tensor if is_aligned(tensor) else tensor.clone()


def is_aligned(tensor: Tensor) -> bool:
    return tensor.device.type != "cpu" or tensor.data_ptr() % ALIGNMENT == 0


def bytes_of(tensor: Tensor) -> Tensor:
    """A contiguous tensor's memory, (n,) uint8."""
    return tensor.reshape(-1).view(torch.uint8)


def read_into_memory(path: Path, start: int, count: int) -> Tensor:
    """`count` bytes of a file, (count,) uint8 on a boundary. OSError; ValueError where the file ends before."""
    raw = torch.empty(count, dtype=torch.uint8)
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        into, done = memoryview(raw.numpy()), 0
        while done < count and (got := stream.readinto(into[done:])):  # a read may stop short, at 2 GiB
            done += got
    if done < count:
        raise ValueError(f"{path} ends too early: download or copy it again")
    return raw


class SafetensorsFile:
    """An open file. `shapes`, `dtypes` (as the format calls them, "F16") by key, and `metadata`, are known at once."""

    def __init__(self, path: Path, handle: Any) -> None:
        self.path, self._handle = path, handle
        self.metadata: dict[str, str] = handle.metadata() or {}
        parts = {key: handle.get_slice(key) for key in handle.keys()}  # noqa: SIM118
        self.shapes: dict[str, tuple[int, ...]] = {key: tuple(part.get_shape()) for key, part in parts.items()}
        self.dtypes: dict[str, str] = {key: part.get_dtype() for key, part in parts.items()}
        header = safetensors_header(path)
        self._data, self._entries = 8 + len(header), json.loads(header)

    def read(self, key: str, dtype: torch.dtype | None = None, *, mapped: bool = True) -> Tensor:
        """One tensor, as stored or as `dtype`, on a boundary. `mapped`: False where it will be rearranged anyway, for
        mapped pages that are read take memory besides the copy.
        """
        stored = self.dtypes[key]
        if stored not in DTYPES:
            raise ValueError(f"{self.path}: {key!r} holds {stored} numbers, which are not read here")
        start, end = (self._data + offset for offset in self._entries[key]["data_offsets"])
        if mapped and start % ALIGNMENT == 0 and dtype in (None, DTYPES[stored]):
            return aligned(self._handle.get_tensor(key))
        tensor = read_into_memory(self.path, start, end - start).view(DTYPES[stored]).view(self.shapes[key])
        return tensor if dtype is None else tensor.to(dtype)


@contextmanager
def opened(path: Path) -> Iterator[SafetensorsFile]:
    """The file, or one clear error: FileNotFoundError, or ValueError for one that is damaged or of another kind."""
    try:
        _refuse_foreign(path)
        handle = safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or damaged ({error}): download or copy it again") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}): look at its permissions") from error
    with handle:
        yield SafetensorsFile(path, handle)


def safetensors_header(path: Path) -> bytes:
    """The JSON that a safetensors file begins with, or what there is of it; nothing of another file. OSError."""
    with path.open("rb") as stream:
        start = stream.read(9)
        if start[8:] != b"{":
            return b""
        return b"{" + stream.read(min(int.from_bytes(start[:8], "little"), MAX_HEADER) - 1)


def _refuse_foreign(path: Path) -> None:
    """Tell by content, not by name, what is no safetensors file, and above all what would run code when loaded."""
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}: check the name, or put the file there")
    if not path.is_file():
        raise ValueError(f"{path} is a folder: name the .safetensors file in it")
    with path.open("rb") as stream:
        start = stream.read(512)
    # Eight bytes of header length, then JSON. The length may look like a pickle's first bytes, so JSON is asked first.
    if start[8:9] == b"{":
        return
    pickled = start.startswith(b"PK") or start[257:262] == b"ustar" or (start[:1] == b"\x80" and start[1:2] <= b"\x05")
    if pickled and len(start) > 1:
        raise ValueError(
            f"{path} is a pickle (.pt, .pth, .ckpt): loading it could run any code, so it is refused. "
            "Ask its author for .safetensors, or convert it on a machine you can spare"
        )
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`")
    raise ValueError(
        f"{path} is no .safetensors file, or is truncated ({path.stat().st_size} bytes): download or copy it again"
    )


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write `path` in place: data on a boundary, and in it each tensor whose size allows it.

    The format has no gaps, so the tensors that are no whole number of lines come last.
    """
    last = {key: tensor.nbytes % ALIGNMENT != 0 for key, tensor in tensors.items()}
    order = sorted(tensors, key=lambda key: (last[key], -tensors[key].element_size(), key))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for key in order:
        start, end = end, end + tensors[key].nbytes
        header[key] = {
            "dtype": _NAMES[tensors[key].dtype],
            "shape": list(tensors[key].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            stream.write(memoryview(bytes_of(tensors[key].contiguous()).numpy()))
