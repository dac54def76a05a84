"""Which files is a checkpoint, named as a file or a folder, and what can be known of it without reading its weights?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from .._settings_file import read_settings
from .._weight_files import Variant, all_there, shards_of, weight_sets
from .weights import Beside, Weights, open_weights

PUBLISHED = "diffusion_pytorch_model"  # what diffusers calls the weights of any network
ORIGINAL = "pytorch_model"
# Folders of a pipeline, and that whose weights belong to theirs: Karlo's, under its name before the keys.
BESIDE = {"decoder": "text_proj", "super_res_first": "super_res_last"}
INSIDE = ("unet", "transformer", "")  # where in a pipeline's folder its network is; "" is the folder itself


@dataclass(frozen=True)
class Stored:
    """An open checkpoint: what readers tell each other's files apart by."""

    path: Path  # as it was named, a file or a folder
    folder: Path  # where its files are
    weights: Weights  # shapes, dtypes and metadata are known, tensors are read one by one
    published: bool = True  # whether its name is diffusers' own, so that settings beside it are certainly its own

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.weights.shapes

    @property
    def metadata(self) -> dict[str, str]:
        """What the header of a safetensors file says besides."""
        return self.weights.metadata

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The config.json beside the weights. A damaged one is a ValueError, or None where it may be somebody else's."""
        path = self.folder / "config.json"
        try:
            return read_settings(path) if path.is_file() else None
        except ValueError:
            if self.published:
                raise
            return None


def settings_of_folder(folder: Path) -> dict[str, Any]:
    """What a config.json in a folder says; nothing where there is none that can be read."""
    try:
        return read_settings(folder / "config.json")
    except (OSError, ValueError):
        return {}


@contextmanager
def stored_at(path: Path, dtype: torch.dtype = torch.float32) -> Iterator[Stored]:
    """The checkpoint at `path`: a file, one of several shards, or a folder as published.

    Of several sets of weights the one closest to `dtype` is taken: fp16 for half precision, the full one else. Raises
    FileNotFoundError, or ValueError, naming the file, for a folder without weights, a missing shard or a damaged file.
    """
    if path.is_dir():
        folder, files = _find_in(path, dtype)
    elif path.exists():
        folder, files = path.parent, shards_of(path)
    else:
        raise FileNotFoundError(f"no checkpoint at {path}: check the name, or put the file there")
    published = path.is_dir() or path.name.startswith(PUBLISHED)
    with ExitStack() as stack:
        weights = stack.enter_context(open_weights(files))
        others = _files_beside(folder, dtype) if published else {}
        if others:
            opened = {f"{name}.": stack.enter_context(open_weights(found)) for name, found in others.items()}
            weights = Beside(weights, opened)
        yield Stored(path, folder, weights, published)


def _files_beside(folder: Path, dtype: torch.dtype) -> dict[str, list[Path]]:
    """The files of the folder that belongs to this one, by its name; nothing where there is none."""
    name = BESIDE.get(folder.name)
    files = None if name is None else _set_in(folder.parent / name, PUBLISHED, dtype)
    return {} if files is None else {name: files}


def _set_in(folder: Path, name: str, dtype: torch.dtype) -> list[Path] | None:
    """The files of one set of weights in a folder, of several the closest to `dtype`; None where there are none."""
    sets = weight_sets(folder, name, ".safetensors") or weight_sets(folder, name, ".bin")
    return all_there(_closest(sets, dtype).files) if sets else None


def _find_in(path: Path, dtype: torch.dtype) -> tuple[Path, list[Path]]:
    tried = [(path / inner, PUBLISHED) for inner in INSIDE]
    if (path / "config.yml").is_file():  # else pytorch_model is a text encoder's name too
        tried.append((path, ORIGINAL))
    for folder, name in tried:
        if (files := _set_in(folder, name, dtype)) is not None:
            return folder, files
    places = ", ".join(f"{inner}/" for inner in INSIDE if inner)
    raise ValueError(
        f"{path} holds no stage: expected {PUBLISHED}.safetensors in it or in its {places}, or config.yml with "
        f"{ORIGINAL}.safetensors or .bin; choose its model folder, or the file"
    )


def _closest(sets: list[Variant], dtype: torch.dtype) -> Variant:
    wanted = "" if dtype == torch.float32 else "fp16"
    return min(sets, key=lambda one: (one.infix != wanted, one.infix != "", one.infix))
