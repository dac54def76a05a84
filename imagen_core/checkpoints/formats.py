"""How does a checkpoint become a network, whichever format it has, and which files are checkpoints at all?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .._walk import find_models
from .._weight_files import is_shard
from ..eight_bits import in_eight_bits
from .key_map import load_weights
from .plausible import built_empty
from .readers import Reader, Reading, reader_of, readers
from .stage_spec import StageSpec
from .stored import PUBLISHED, Stored, stored_at
from .weights import open_weights


class Opened(NamedTuple):
    """A checkpoint whose tensors can be read while the context lasts, its reader, and what that made of it."""

    stored: Stored
    reader: Reader
    reading: Reading


@contextmanager
def opened(
    path: str | os.PathLike[str], *, kind: str | None = "stage", dtype: torch.dtype = torch.float32
) -> Iterator[Opened]:
    """What is known of a checkpoint of this kind, or of any where None. Errors as `load_any`."""
    with stored_at(Path(path), dtype) as stored:
        reader = reader_of(stored, kind)
        yield Opened(stored, reader, reader.read(stored))


def load_any(
    path: str | os.PathLike[str],
    *,
    kind: str,
    expected_stage: str | None = None,
    dtype: torch.dtype = torch.float32,
    eight_bits: bool = False,
) -> tuple[nn.Module, Any]:
    """A network, in eval mode on the CPU as `dtype` whatever the stored type, and what its reader says of it.

    path: a file, or a folder as published. Weights are read one at a time, so memory holds them once. eight_bits: what is
    large lies as int8, and becomes `dtype` layer by layer while the network runs (see `eight_bits`). Raises
    FileNotFoundError, or ValueError naming the file (and key or setting) for: a file of another kind or model, a stage
    other than `expected_stage`, a pickle, a missing shard, a truncated file, missing or unexpected keys, wrong shapes.
    """
    path = Path(path)
    with opened(path, kind=kind, dtype=dtype) as (stored, _, reading):
        if expected_stage is not None and reading.spec.stage != expected_stage:
            raise ValueError(
                f"{path} is a {reading.spec.stage} stage, and {expected_stage} is needed: choose another file"
            )
        network = built_empty(reading.build, path)
        key_map = reading.key_map(network)
        network = in_eight_bits(network, dtype) if eight_bits else network
        with reading.weights_of(stored) as weights:
            load_weights(network, weights, key_map, path, dtype)
    return network.eval(), reading.spec


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    expected_stage: str | None = None,
    dtype: torch.dtype = torch.float32,
    eight_bits: bool = False,
) -> tuple[nn.Module, StageSpec]:
    """The network of a stage and its description. Errors as `load_any`."""
    return load_any(path, kind="stage", expected_stage=expected_stage, dtype=dtype, eight_bits=eight_bits)


def read_spec(path: str | os.PathLike[str]) -> StageSpec:
    """A stage's description, without reading its weights. Errors as `load_any`."""
    with opened(path) as (_, _, reading):
        return reading.spec


def trained_in_half(path: str | os.PathLike[str]) -> bool:
    """Whether a stage's authors ran it in fp16, so that a device with fast fp16 may too. Errors as `load_any`."""
    with stored_at(Path(path)) as stored:
        return reader_of(stored).trained_in_half


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Every file that a checkpoint is read from, also what it is a change of; the path alone where that cannot be told."""
    try:
        with stored_at(Path(path)) as stored:
            return [*stored.weights.files, *reader_of(stored, None).files_beside(stored)]
    except (ValueError, OSError):
        return [Path(path)]


def is_checkpoint(path: str | os.PathLike[str], kind: str = "stage") -> bool:
    """Whether a list of this kind should offer `path`, told from headers alone, once for each version of a file.

    A file: False for a whole file of another kind; True for a damaged file or a pickle too, because loading that says
    what is wrong with it, and a name missing from a list says nothing. A shard called as published is taken for one of
    this kind. A folder: whether what lies in it is of this kind and whole.
    """
    path = Path(path)
    if path.is_dir():
        return _is_folder_of(path, kind)
    try:
        status = path.stat()
    except OSError:
        return False
    return _is_file_of(path, kind, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _is_file_of(path: Path, kind: str, size: int, mtime_ns: int) -> bool:
    if is_shard(path) and path.name.startswith(PUBLISHED):
        return True
    try:
        with open_weights([path]) as weights:
            stored = Stored(path, path.parent, weights, path.name.startswith(PUBLISHED))
            return any(reader.matches(stored) for reader in readers(kind))
    except (ValueError, OSError):
        return True


def _is_folder_of(path: Path, kind: str) -> bool:
    try:
        with opened(path, kind=kind):
            return True
    except (ValueError, OSError):
        return False


def is_stage_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a list of stages should offer `path`: `is_checkpoint`."""
    return is_checkpoint(path, "stage")


def find_checkpoints(folder: Path, kind: str) -> Iterator[Path]:
    """Every checkpoint of this kind under `folder`: model folders (whose own files are not listed again) and files, in
    order of name.

    A model folder is told by its settings (`Reader.marks`), so that a damaged one is listed, and loading it says what is
    wrong. Reads headers only; folders behind links are followed.
    """
    known = readers(kind)
    return find_models(
        folder,
        lambda inner: any(reader.marks(inner) for reader in known),
        lambda file: file.suffix == ".safetensors" and is_checkpoint(file, kind),
    )


def find_stages(folder: Path) -> Iterator[Path]:
    """Every stage under `folder`: `find_checkpoints`."""
    return find_checkpoints(folder, "stage")
