"""How are the networks that only judge kept? One .safetensors each, large weights in int8, told apart by a "format"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from imagen_core._safetensors import opened, write_safetensors
from imagen_core.checkpoints.int8 import in_eight_bits, scale_of, scaled
from imagen_core.whole_files import whole

Network = TypeVar("Network", bound=nn.Module)


def save_judge(model: nn.Module, path: Path, figures: dict[str, object], *, kind: str, heads: object) -> Path:
    """Write the weights with what they answer (`heads`, JSON-able) and their figures in the metadata, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = in_eight_bits({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()})
    metadata = {"format": f"imagen-{kind}", "heads": json.dumps(heads), "training": json.dumps(figures)}
    with whole(path) as draft:
        write_safetensors(draft, tensors, metadata)
    return path


def load_judge(model: Network, path: Path, *, kind: str, heads: object) -> Network:
    """Fill a fresh network from `save_judge`'s file: float32, eval mode, frozen.

    FileNotFoundError: no such file. ValueError: another kind of file, other heads, or weights of another build.
    """
    remedy = f"run `imagen train {kind}`"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {kind} at {path}: {remedy}")
    with opened(path) as file:
        metadata = file.metadata
        tensors = {key: file.read(key, torch.float32) for key in file.shapes}
    for key in list(tensors):
        if (scale := scale_of(key, tensors)) is not None:
            tensors[key] = scaled(tensors[key], tensors.pop(scale), torch.float32)
    if metadata.get("format") != f"imagen-{kind}" or json.loads(metadata.get("heads", "null")) != heads:
        raise ValueError(f"{path} is no {kind} that answers {heads}: {remedy}")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} is a {kind} of another build: {remedy} again") from error
    return model.eval().requires_grad_(False)
