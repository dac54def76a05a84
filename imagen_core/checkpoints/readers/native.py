"""How is one stage kept in one .safetensors file: weights, and in its metadata everything needed to sample from them?

Metadata (strings): format "imagen", format_version, stage, unet (JSON), schedule (JSON), prediction_type,
learned_variance, defaults (JSON), training (JSON); low_res_resize, aug_zero_is_clean, text, space and base (JSON)
where they are not as our own stages have them. Version 1 knew three stages, no `text` and no `space`; a file that needs
no more is written as that.
Nothing here ever unpickles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ..._discovery import to_config
from ..._safetensors import write_safetensors
from ..._settings_file import parsed
from ...fingerprint import KEY, Fingerprint
from ...spaces import space_from_config
from ...text.reading import AS_DEEPFLOYD, TextReading, reading_from_dict, reading_to_dict
from ...unets import DeepFloydUNetConfig, UNetConfig, unet_config_from_dict, unet_config_to_dict
from ...whole_files import whole
from ..int8 import in_eight_bits
from ..key_map import Entry, KeyMap, Parts
from ..plausible import check_schedule, in_short
from ..stage_spec import StageSpec, check_defaults
from ..stored import Stored
from ._base import Reader, Reading, check_version, stage_reading

FORMAT = "imagen"
FORMAT_VERSION = 2
FIRST_STAGES = ("base64", "sr256", "sr1024")  # that version 1 knew
OLD_NAMES = {"attention.query.": "attention.qkv.", "attention.text_keys_values.": "attention.text_kv."}  # IF's, in 0.1
# Fields that a file need not have: what they mean when absent.
LATER_FIELDS = {name: getattr(StageSpec, name) for name in ("low_res_resize", "low_res_8bit", "aug_zero_is_clean")}


class NativeReader(Reader):
    """Weights are called as our networks call them; the network is in the metadata."""

    name: ClassVar[str] = "native"
    title: ClassVar[str] = "an Imagen stage"

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") == FORMAT

    def read(self, stored: Stored) -> Reading:
        check_version(stored, FORMAT_VERSION)
        try:
            spec = metadata_to_spec(stored.metadata)
            check_schedule(spec.schedule_config)
            return stage_reading(stored, spec, partial(_key_map, stored.shapes))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{stored.path}: {in_short(error)}") from error


def _key_map(stored: Parts, network: nn.Module) -> KeyMap:
    """Every weight as our network calls it, or, where the file is older than that name, as it was called."""
    return {key: Entry({_called(key, stored): tuple(tensor.shape)}) for key, tensor in network.state_dict().items()}


def _called(key: str, stored: Parts) -> str:
    older = key
    for new, old in OLD_NAMES.items():
        older = older.replace(new, old)
    return older if older in stored and key not in stored else key


def save_checkpoint(
    path: str | os.PathLike[str],
    unet: nn.Module,
    *,
    spec: StageSpec,
    dtype: torch.dtype = torch.float32,
    in_float16: Collection[str] = (),
) -> None:
    """Write `unet` and `spec` to `path`, whole or not at all; weights are stored as `dtype`.

    float16 halves them; int8 halves what is large once more, a scale a row beside it, and leaves the rest in float16, and
    what `in_float16` names (keys of the network's state).

    Raises ValueError when `unet` was built from other settings than `spec.unet_config`.
    """
    unet = getattr(unet, "_orig_mod", unet)  # torch.compile's wrapper
    if unet.config != spec.unet_config:
        raise ValueError("spec.unet_config is not what the network was built from: pass unet_config=unet.config")
    path = Path(path)
    tensors = {key: value.detach().cpu() for key, value in unet.state_dict().items()}
    if dtype == torch.int8:
        stored = in_eight_bits(tensors, in_float16)
    else:
        stored = {key: part.to(dtype) for key, part in tensors.items()}
    with whole(path) as draft:
        write_safetensors(draft, {key: part.contiguous() for key, part in stored.items()}, spec_to_metadata(spec))


def spec_to_metadata(spec: StageSpec) -> dict[str, str]:
    """What a stage's file says beside its weights."""
    later = {name: getattr(spec, name) for name in LATER_FIELDS}
    second = (
        {} if spec.text == _text_of_version_1(spec.unet_config) else {"text": json.dumps(reading_to_dict(spec.text))}
    )
    second |= {} if spec.space == StageSpec.space else {"space": json.dumps(to_config(spec.space))}
    whose = {} if spec.change_of is None else {KEY: spec.change_of.to_json()}
    return {
        "format": FORMAT,
        "format_version": "1" if spec.stage in FIRST_STAGES and not second else str(FORMAT_VERSION),
        "stage": spec.stage,
        "unet": json.dumps(unet_config_to_dict(spec.unet_config)),
        "schedule": json.dumps(spec.schedule_config),
        "prediction_type": spec.prediction_type,
        "learned_variance": json.dumps(spec.learned_variance),
        "defaults": json.dumps(spec.defaults),
        "training": json.dumps(spec.training),
        **second,
        **whose,
        **{name: json.dumps(value) for name, value in later.items() if value != LATER_FIELDS[name]},
    }


def _text_of_version_1(config: UNetConfig) -> TextReading:
    """What a file means that says nothing of it: of foreign networks DeepFloyd's alone could be kept in this format."""
    return AS_DEEPFLOYD if isinstance(config, DeepFloydUNetConfig) else TextReading()


def metadata_to_spec(metadata: dict[str, str]) -> StageSpec:
    """Inverse of `spec_to_metadata`. ValueError naming the entry that is wrong."""
    config = unet_config_from_dict(_json_entry(metadata, "unet", dict))
    told = reading_from_dict(_json_entry(metadata, "text", dict)) if "text" in metadata else _text_of_version_1(config)
    spec = StageSpec(
        stage=entry(metadata, "stage"),
        unet_config=config,
        text=told,
        space=space_from_config(_json_entry(metadata, "space", dict)) if "space" in metadata else StageSpec.space,
        change_of=Fingerprint.from_json(metadata[KEY], f"metadata {KEY!r}") if KEY in metadata else None,
        schedule_config=_json_entry(metadata, "schedule", dict),
        prediction_type=entry(metadata, "prediction_type"),
        learned_variance=_json_entry(metadata, "learned_variance", bool),
        defaults=_json_entry(metadata, "defaults", dict),
        training=_json_entry(metadata, "training", dict),
        **{
            name: _json_entry(metadata, name, type(default))
            for name, default in LATER_FIELDS.items()
            if name in metadata
        },
    )
    if spec.learned_variance and config.out_channels != 2 * config.in_channels:
        raise ValueError(
            f"learned_variance needs twice the channels that are read, {config.in_channels}, and out_channels is "
            f"{config.out_channels}"
        )
    check_defaults(spec.defaults)
    return spec


def entry(metadata: dict[str, str], key: str) -> str:
    """One string of a file's metadata. ValueError where it is not there."""
    if key not in metadata:
        raise ValueError(f"metadata lacks {key!r}: download the file again")
    return metadata[key]


def _json_entry(metadata: dict[str, str], key: str, kind: type) -> Any:
    value = parsed(entry(metadata, key), f"metadata {key!r}")
    if not isinstance(value, kind):
        raise ValueError(f"metadata {key!r} is {value!r}, expected a {kind.__name__}: download the file again")
    for name in ("kind", "name"):  # what a registry is asked for
        if kind is dict and not isinstance(value.get(name, ""), str):
            raise ValueError(f"metadata {key!r}: {name} is {value[name]!r}, expected a word; download the file again")
    return value
