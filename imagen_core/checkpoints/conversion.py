"""How does a pickled file of weights (.pt, .ckpt, .bin) become safetensors, once, without running what is in it?

torch's unpickler for weights builds tensors, numbers, texts and their containers, and here one type besides: the settings
that JiT's authors keep beside theirs, a namespace of such values. A file that names another is refused with that name.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .._safetensors import write_safetensors
from ..whole_files import whole
from .weights import load_archive

ARCHIVES = (".pt", ".pth", ".ckpt", ".bin")
ALLOWED: list[Any] = [argparse.Namespace]  # types beyond torch's own list; it holds attributes and runs nothing
# Under which training programs keep the weights beside other things; averaged ones first, where there are two.
INSIDE = ("state_dict", "model_ema1", "ema", "model")
NESTED = 3


def convert_weights(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    facts: Mapping[str, str] | None = None,
    stats: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the tensors of `path` to `out` (beside it by default), whole or not at all; returns where they are.

    Names, shapes and dtypes stay as they are. facts: texts for the file's metadata. stats: a prior's file of mean and
    deviation (Karlo's ViT-L-14_stats.th), which are put in as clip_mean and clip_std. Raises FileNotFoundError, and
    ValueError for what is no table of weights, names a type that is not allowed, or is damaged, and where `out` exists.
    """
    path = Path(path)
    target = path.with_suffix(".safetensors") if out is None else Path(out)
    if target.exists():
        raise ValueError(f"{target} is there already: delete it first, or name another with --out")
    tensors = _weights_of(load_archive(path, allowed=ALLOWED), path) | ({} if stats is None else _stats_of(Path(stats)))
    with whole(target) as draft:
        write_safetensors(draft, {key: _alone(tensor) for key, tensor in tensors.items()}, dict(facts or {}))
    return target


def _weights_of(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The table of weights, which may lie inside of what a training program saved."""
    for _ in range(NESTED):
        if not isinstance(loaded, Mapping):
            break
        tensors = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
        if tensors and all(isinstance(key, str) for key in tensors):
            return tensors
        loaded = next((loaded[key] for key in INSIDE if key in loaded), None)
    raise ValueError(f"{path} holds no table of weights by name, also not under {', '.join(INSIDE)}")


def _stats_of(path: Path) -> dict[str, Tensor]:
    """Mean and deviation, each (1 e), of a file that holds the two of them."""
    loaded = load_archive(path)
    rows = loaded if isinstance(loaded, (list, tuple)) else ()
    if len(rows) != 2 or not all(isinstance(row, Tensor) and row.ndim == 1 for row in rows):
        raise ValueError(
            f"{path} is no pair of a mean and a deviation: choose the prior's own, such as ViT-L-14_stats.th"
        )
    return {name: row[None] for name, row in zip(("clip_mean", "clip_std"), rows, strict=True)}


def _alone(tensor: Tensor) -> Tensor:
    """In memory of its own, as safetensors wants it: views of one storage are written apart."""
    return tensor.detach().contiguous().clone()
