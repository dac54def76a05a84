"""What is this checkpoint? Told from headers and settings, without reading weights."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ._discovery import to_config
from ._safetensors import safetensors_header
from ._settings_file import read_settings
from .checkpoints.formats import opened
from .checkpoints.stage_spec import StageSpec
from .clip.loading import is_clip, open_clip
from .text.byte_pairs import KIND as BYTE_PAIRS
from .text.byte_pairs import MERGES, load_byte_pairs
from .text.hub_network import OWN_KINDS
from .text.loading import kind_of_folder, open_bert_folder
from .text.reading import reading_to_dict
from .text.t5_weights import open_weights as open_text_encoder
from .text.t5_weights import weight_files
from .unets import unet_config_to_dict


def inspect_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file or folder holds, as JSON-able data.

    Always: path, kind (its reader's title: "Imagen stage", "DeepFloyd IF stage"; or "T5 text encoder", "BERT text
    encoder", "CLIP text and vision encoder"), parameters (their number), formats (how many are stored in each number
    format, "F16": n), bytes and files.
    Of a stage besides: stage, network (its settings), schedule, prediction_type, learned_variance, defaults, text, space,
    low_res_resize, low_res_8bit, aug_zero_is_clean, training, naming. Of anything else: settings. Raises
    FileNotFoundError, or ValueError for a damaged file and for what is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}: check the name")
    if _is_text_encoder(path):
        return _text_encoder(path)
    if is_clip(path):
        return _clip(path)
    with opened(path, kind=None) as (stored, reader, reading):
        weights = stored.weights
        sizes = [(weights.dtypes[key], math.prod(shape)) for key, shape in weights.shapes.items()]
        found = _found(path, reader.title.partition(" ")[2], sizes, weights.files)
        named = {} if reading.naming is None else {"naming": reading.naming}
        return found | named | _of_spec(reading.spec)


def _is_text_encoder(path: Path) -> bool:
    try:
        if path.is_dir():
            return read_settings(path / "config.json").get("model_type") in (*OWN_KINDS, BYTE_PAIRS)
        return path.suffix.lower() == ".gguf" or b"encoder.block.0." in safetensors_header(path)
    except (OSError, ValueError):
        return False


def _text_encoder(path: Path) -> dict[str, Any]:
    kind = kind_of_folder(path) if path.is_dir() else "t5"
    if kind == BYTE_PAIRS:
        network, _ = load_byte_pairs(path)
        return _found(path, "vocabulary of byte pairs", [], [path / MERGES]) | {"settings": vars(network.config)}
    if kind == "bert":
        weights, config, *_ = open_bert_folder(path)
    else:
        files = weight_files(path) if path.is_dir() else [path]
        weights, config = open_text_encoder(files, path / "config.json" if path.is_dir() else None)
    formats = {file: _number_formats(file) for file in weights.files}
    sizes = [
        (formats[archive.path][name], math.prod(archive.shapes[name])) for archive, name in weights.places.values()
    ]
    return _found(path, f"{kind.upper()} text encoder", sizes, weights.files) | {"settings": vars(config)}


def _clip(path: Path) -> dict[str, Any]:
    config, places = open_clip(path)
    formats = {file: _number_formats(file) for file in {place.archive.path for place in places.values()}}
    stored = {
        (place.archive.path, place.name): math.prod(place.archive.shapes[place.name]) for place in places.values()
    }
    sizes = [(formats[file][name], count) for (file, name), count in stored.items()]
    towers = " and ".join(name for name in ("text", "vision") if getattr(config, name) is not None)
    return _found(path, f"CLIP {towers} encoder", sizes, [*formats]) | {"settings": dataclasses.asdict(config)}


def _number_formats(file: Path) -> dict[str, str]:
    """How each tensor of a text encoder's file is stored: F16, F8_E4M3, Q8_0 ..."""
    if file.suffix.lower() != ".gguf":
        header = json.loads(safetensors_header(file))
        return {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    from gguf import GGMLQuantizationType

    from .text.gguf_header import read_gguf_header

    return {name: GGMLQuantizationType(tensor.kind).name for name, tensor in read_gguf_header(file).tensors.items()}


def _found(path: Path, kind: str, sizes: Iterable[tuple[str, int]], files: list[Path]) -> dict[str, Any]:
    formats: Counter[str] = Counter()
    for number_format, count in sizes:
        formats[number_format] += count
    return {
        "path": str(path),
        "kind": kind,
        "parameters": sum(formats.values()),
        "formats": dict(formats.most_common()),
        "bytes": sum(file.stat().st_size for file in files),
        "files": [file.name for file in files],
    }


def _of_spec(spec: Any) -> dict[str, Any]:
    if not isinstance(spec, StageSpec):
        return {"settings": vars(spec)}
    return {
        "stage": spec.stage,
        "network": unet_config_to_dict(spec.unet_config),
        "schedule": spec.schedule_config,
        "prediction_type": spec.prediction_type,
        "learned_variance": spec.learned_variance,
        "text": reading_to_dict(spec.text),
        "space": to_config(spec.space),
        "low_res_resize": spec.low_res_resize,
        "low_res_8bit": spec.low_res_8bit,
        "aug_zero_is_clean": spec.aug_zero_is_clean,
        "defaults": spec.defaults,
        "training": spec.training,
    }
