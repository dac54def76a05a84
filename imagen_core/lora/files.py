"""How is a LoRA kept? As ComfyUI's LoRA loaders read it: diffusion_model.LAYER.lora_up.weight, .lora_down.weight, .alpha.

So the same file works in Imagen Load LoRA, and in ComfyUI's own loader behind Imagen To Model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .._safetensors import SafetensorsFile, opened, safetensors_header, write_safetensors
from .._settings_file import parsed
from .._walk import find_files
from ..checkpoints.stage_spec import check_defaults
from ..fingerprint import KEY, Fingerprint
from ..whole_files import whole
from .low_rank import Lora, LowRank

FORMAT = "imagen_lora"
PREFIX = "diffusion_model."
UP, DOWN, ALPHA = ".lora_up.weight", ".lora_down.weight", ".alpha"


def save_lora(path: Path, lora: Lora, *, dtype: torch.dtype = torch.float16) -> Path:
    """Write a LoRA, whole or not at all."""
    tensors = {}
    for name, change in lora.changes.items():
        tensors[f"{PREFIX}{name}{UP}"] = change.up.detach().to("cpu", dtype).contiguous()
        tensors[f"{PREFIX}{name}{DOWN}"] = change.down.detach().to("cpu", dtype).contiguous()
        tensors[f"{PREFIX}{name}{ALPHA}"] = torch.tensor(change.alpha, dtype=torch.float32)
    metadata = {"format": FORMAT, "training": json.dumps(dict(lora.training))}
    if lora.defaults:
        metadata["defaults"] = json.dumps(dict(lora.defaults))
    if lora.base is not None:
        metadata[KEY] = lora.base.to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        write_safetensors(draft, tensors, metadata)
    return path


def read_lora(path: Path) -> Lora:
    """A LoRA in float32 on the CPU. FileNotFoundError; ValueError for a damaged file, a pickle, or one of other names."""
    with opened(path) as file:
        names = [key.removeprefix(PREFIX).removesuffix(UP) for key in file.shapes if key.endswith(UP)]
        if not names or any(not key.startswith(PREFIX) for key in file.shapes):
            raise ValueError(
                f"{path} is no LoRA of an Imagen network (its weights are not called {PREFIX}LAYER{UP}): choose another"
            )
        changes = {name: _change(file, f"{PREFIX}{name}") for name in sorted(names)}
        base = Fingerprint.from_json(file.metadata[KEY], path) if KEY in file.metadata else None
        training = parsed(file.metadata.get("training", "{}"), path)
        defaults = _defaults(file)
    return Lora(changes=changes, base=base, training=training if isinstance(training, dict) else {}, defaults=defaults)


def _defaults(file: SafetensorsFile) -> dict[str, Any]:
    defaults = parsed(file.metadata.get("defaults", "{}"), file.path)
    if not isinstance(defaults, dict):
        raise ValueError(f"{file.path}: its metadata 'defaults' is no table; download the file again")
    try:
        check_defaults(defaults)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error
    return defaults


def _change(file: SafetensorsFile, name: str) -> LowRank:
    if name + DOWN not in file.shapes:
        raise ValueError(f"{file.path} lacks {name + DOWN!r}, being damaged: download or train it again")
    up, down = (file.read(name + part, torch.float32) for part in (UP, DOWN))
    if not (up.isfinite().all() and down.isfinite().all()):
        raise ValueError(f"{file.path}: {name!r} holds NaN or infinity; train it again at a lower learning rate")
    alpha = file.read(name + ALPHA, torch.float32).item() if name + ALPHA in file.shapes else float(down.shape[0])
    return LowRank(up=up, down=down, alpha=alpha)


def find_loras(folder: Path) -> Iterator[Path]:
    """Every LoRA of this pack's under `folder`, told from the files' headers."""
    for path in find_files(folder):
        if path.suffix == ".safetensors":
            try:
                status = path.stat()
            except OSError:
                continue
            if _is_lora(path, status.st_size, status.st_mtime_ns):
                yield path


@lru_cache(maxsize=4096)
def _is_lora(path: Path, size: int, mtime_ns: int) -> bool:
    try:
        return f'"format":"{FORMAT}"'.encode() in safetensors_header(path).replace(b'": "', b'":"')
    except OSError:
        return False
