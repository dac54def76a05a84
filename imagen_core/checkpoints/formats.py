"""Which reader takes a checkpoint? Told from what it holds: this pack's own format, or DeepFloyd IF's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from .._walk import find_models
from . import native
from .deepfloyd_if import is_deepfloyd, load_deepfloyd, opened_deepfloyd, read_deepfloyd_spec
from .native import StageSpec


def load_network(
    path: str | os.PathLike[str], *, expected_stage: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, StageSpec]:
    """The network of a stage, in eval mode on the CPU as `dtype`, and its description; errors as the two readers'."""
    read = load_deepfloyd if is_deepfloyd(path) else native.load_checkpoint
    return read(path, expected_stage=expected_stage, dtype=dtype)


def read_spec(path: str | os.PathLike[str]) -> StageSpec:
    """A checkpoint's description, without reading its weights; errors as the two readers'."""
    return read_deepfloyd_spec(path) if is_deepfloyd(path) else native.read_spec(path)


def trained_in_half(path: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint's authors ran it in fp16, so that a device with fast fp16 may too (DeepFloyd IF)."""
    return is_deepfloyd(path)


def is_stage_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a list of stages should offer `path`, told from its header alone, once for each version of the file.

    A file: False for a whole file of another kind; True for a stage, and for a damaged file or a pickle too, because
    loading that says what is wrong with it, and a name missing from a list says nothing. A folder: whether it is a
    published model folder whose network is a DeepFloyd stage.
    """
    path = Path(path)
    if path.is_dir():
        return _is_stage_folder(path)
    try:
        status = path.stat()
    except OSError:
        return False
    return _is_stage_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _is_stage_file(path: Path, size: int, mtime_ns: int) -> bool:
    return is_deepfloyd(path) or native.is_stage_checkpoint(path)


def _is_stage_folder(path: Path) -> bool:
    try:
        with opened_deepfloyd(path):
            return True
    except (ValueError, OSError):
        return False


def find_stages(folder: Path) -> Iterator[Path]:
    """Every stage under `folder`: model folders (whose own files are not listed again) and files, in order of name.

    A model folder is told by its unet/config.json or config.yml, so that a damaged one is listed, and loading it says
    what is wrong. Reads headers only; folders behind links are followed.
    """
    return find_models(folder, _looks_published, _is_listed_file)


def _is_listed_file(file: Path) -> bool:
    return file.suffix == ".safetensors" and is_stage_checkpoint(file)


def _looks_published(folder: Path) -> bool:
    """A pipeline's folder, its unet/ alone, or the original's, if the settings in it are a DeepFloyd stage's."""
    for config in (folder / "unet" / "config.json", folder / "config.json"):
        if config.is_file():
            return b"SimpleCrossAttn" in _beginning(config)
    return b"encoder_channels" in _beginning(folder / "config.yml")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(1 << 16)
    except OSError:
        return b""
