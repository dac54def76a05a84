"""How is one stage kept in one .safetensors file: weights, and in its metadata everything needed to sample from them?

Metadata (strings): format "imagen", format_version, stage, unet (JSON), schedule (JSON), prediction_type,
learned_variance, defaults (JSON), training (JSON); low_res_resize and aug_zero_is_clean (JSON) where they are not as
our own stages have them. Nothing here ever unpickles.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._foreign import what_is
from .._safetensors import SafetensorsFile, aligned, opened, write_safetensors
from .._settings_file import is_number, parsed
from ..predictions import prediction_of
from ..unets import UNetConfig, unet_config_from_dict, unet_config_to_dict
from ..whole_files import whole
from .plausible import built_empty, check_schedule, check_settings, finite, in_short

FORMAT = "imagen"
FORMAT_VERSION = 1
STAGES = ("base64", "sr256", "sr1024")
LOW_RES_RESIZES = ("area_bilinear", "align_corners")
NUMBERS = ("steps", "guidance_scale", "aug_level", "percentile", "threshold_maximum", "threshold_limit")  # of defaults
NAMES = ("sampler", "spacing", "thresholding")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """What a checkpoint says of itself.

    stage: one of STAGES. schedule_config: as `schedule_to_config` writes it. prediction_type: a key of PREDICTIONS.
    defaults: values that suit sampling (steps, sampler, guidance_scale, aug_level, ...). training: how it was made.
    low_res_resize: how a super-resolution stage wants its small picture enlarged: "area_bilinear" is
    `super_resolution.resize`, "align_corners" is bilinear from corner to corner (DeepFloyd IF). aug_zero_is_clean:
    whether aug_level 0 leaves that picture untouched; False where it still gets the schedule's first noise (DeepFloyd).
    """

    stage: str
    unet_config: UNetConfig
    schedule_config: dict[str, Any]
    prediction_type: str
    learned_variance: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    low_res_resize: str = "area_bilinear"
    aug_zero_is_clean: bool = True

    @property
    def enlarges(self) -> bool:
        """Whether it makes a small picture larger; else it draws from the prompt alone."""
        return self.stage != "base64"

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"Unknown stage {self.stage!r}; expected one of {STAGES}.")
        prediction_of(self.prediction_type)
        if self.low_res_resize not in LOW_RES_RESIZES:
            raise ValueError(f"Unknown low_res_resize {self.low_res_resize!r}; expected one of {LOW_RES_RESIZES}.")


# Fields that files of format_version 1 need not have: what they mean when absent.
LATER_FIELDS = {"low_res_resize": StageSpec.low_res_resize, "aug_zero_is_clean": StageSpec.aug_zero_is_clean}


def save_checkpoint(
    path: str | os.PathLike[str], unet: nn.Module, *, spec: StageSpec, dtype: torch.dtype = torch.float32
) -> None:
    """Write `unet` and `spec` to `path`, whole or not at all; weights are stored as `dtype` (fp16 halves them).

    Raises ValueError when `unet` was built from other settings than `spec.unet_config`.
    """
    unet = getattr(unet, "_orig_mod", unet)  # torch.compile's wrapper
    if unet.config != spec.unet_config:
        raise ValueError("spec.unet_config is not what the network was built from; pass unet_config=unet.config.")
    path = Path(path)
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in unet.state_dict().items()}
    with whole(path) as draft:
        write_safetensors(draft, tensors, _spec_to_metadata(spec))


def read_spec(path: str | os.PathLike[str]) -> StageSpec:
    """A checkpoint's description, without reading its weights. Errors as `load_checkpoint`."""
    with opened(Path(path)) as file:
        return _spec_of(file)


def is_stage_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a list of stages should offer `path`, told from its header alone.

    False for a whole file of another kind. True for our stages, and for a damaged file or a pickle too, because loading
    that says what is wrong with it, and a name missing from a list says nothing.
    """
    try:
        with opened(Path(path)) as file:
            return file.metadata.get("format") == FORMAT
    except (ValueError, OSError):
        return True


def load_checkpoint(
    path: str | os.PathLike[str], *, expected_stage: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, StageSpec]:
    """The network, in eval mode on the CPU as `dtype` whatever the stored type, and its description.

    Raises FileNotFoundError, or ValueError naming the file (and key) for: a pickle, a truncated or foreign file, a
    stage other than `expected_stage`, missing or unexpected keys, wrong shapes.
    """
    path = Path(path)
    with opened(path) as file:
        spec = _spec_of(file)
        if expected_stage is not None and spec.stage != expected_stage:
            raise ValueError(f"{path} is a {spec.stage} stage, and {expected_stage} is needed; choose another file.")
        unet = built_empty(spec.unet_config, path)
        _check_keys(path, file, unet)
        weights = {
            key: as_parameter(finite(file.read(key, dtype, mapped=len(shape) != 4), path, key))
            for key, shape in file.shapes.items()
        }
    unet.load_state_dict(weights, assign=True)
    return unet.eval(), spec


def as_parameter(tensor: Tensor) -> Tensor:
    """The weight as networks keep it: convolutions with channels last, on a boundary; itself where it is so already."""
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return aligned(tensor.contiguous(memory_format=layout))


def _check_keys(path: Path, file: SafetensorsFile, unet: nn.Module) -> None:
    expected = unet.state_dict()
    stored = file.shapes.keys()
    for problem, keys in (("lacks", expected.keys() - stored), ("has unexpected", stored - expected.keys())):
        if keys:
            raise ValueError(
                f"{path} {problem} {len(keys)} weights for its own settings, first {min(keys)!r}; "
                "it is damaged or from another version: download it again, or update."
            )
    for key, tensor in expected.items():
        shape = file.shapes[key]
        if shape != tuple(tensor.shape):
            raise ValueError(
                f"{path}: {key!r} has shape {shape}, its settings ask for {tuple(tensor.shape)}; "
                "it is damaged or from another version: download it again, or update."
            )


def _spec_to_metadata(spec: StageSpec) -> dict[str, str]:
    later = {name: getattr(spec, name) for name in LATER_FIELDS}
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "stage": spec.stage,
        "unet": json.dumps(unet_config_to_dict(spec.unet_config)),
        "schedule": json.dumps(spec.schedule_config),
        "prediction_type": spec.prediction_type,
        "learned_variance": json.dumps(spec.learned_variance),
        "defaults": json.dumps(spec.defaults),
        "training": json.dumps(spec.training),
        **{name: json.dumps(value) for name, value in later.items() if value != LATER_FIELDS[name]},
    }


def _spec_of(file: SafetensorsFile) -> StageSpec:
    path, metadata = file.path, file.metadata
    if metadata.get("format") != FORMAT:
        raise ValueError(_foreign(file))
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version[:9]) > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {version[:20]!r}, this pack reads {FORMAT_VERSION}; update the pack."
        )
    try:
        spec = _metadata_to_spec(metadata)
        check_settings(spec.unet_config, len(file.shapes))
        check_schedule(spec.schedule_config)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{path}: {in_short(error)}") from error
    return spec


def _foreign(file: SafetensorsFile) -> str:
    """A sentence about a whole file that is no stage."""
    known = what_is(file.shapes)
    if known is not None:
        return (
            f"{file.path} is {known}; Imagen Load U-Net takes a stage of this pack, or of DeepFloyd IF: choose another."
        )
    return (
        f"{file.path} holds weights, but not an Imagen stage of this pack (its metadata lacks format={FORMAT!r}) nor a "
        "DeepFloyd IF stage; choose another checkpoint."
    )


def _metadata_to_spec(metadata: dict[str, str]) -> StageSpec:
    spec = StageSpec(
        stage=_entry(metadata, "stage"),
        unet_config=unet_config_from_dict(_json_entry(metadata, "unet", dict)),
        schedule_config=_json_entry(metadata, "schedule", dict),
        prediction_type=_entry(metadata, "prediction_type"),
        learned_variance=_json_entry(metadata, "learned_variance", bool),
        defaults=_json_entry(metadata, "defaults", dict),
        training=_json_entry(metadata, "training", dict),
        **{
            name: _json_entry(metadata, name, type(default))
            for name, default in LATER_FIELDS.items()
            if name in metadata
        },
    )
    config = spec.unet_config
    if spec.learned_variance and config.out_channels != 2 * config.in_channels:
        raise ValueError(
            f"learned_variance needs twice the channels that are read, {config.in_channels}, and out_channels is "
            f"{config.out_channels}"
        )
    for name, value in spec.defaults.items():
        if name in NUMBERS and not is_number(value):
            raise ValueError(f"metadata 'defaults': {name} is {value!r}, expected a number; download the file again.")
        if name in NAMES and not isinstance(value, str):
            raise ValueError(f"metadata 'defaults': {name} is {value!r}, expected a name; download the file again.")
    return spec


def _entry(metadata: dict[str, str], key: str) -> str:
    if key not in metadata:
        raise ValueError(f"metadata lacks {key!r}; the file is damaged: download it again.")
    return metadata[key]


def _json_entry(metadata: dict[str, str], key: str, kind: type) -> Any:
    value = parsed(_entry(metadata, key), f"metadata {key!r}")
    if not isinstance(value, kind):
        raise ValueError(f"metadata {key!r} is {value!r}, expected a {kind.__name__}; download the file again.")
    for name in ("kind", "name"):  # what a registry is asked for
        if kind is dict and not isinstance(value.get(name, ""), str):
            raise ValueError(f"metadata {key!r}: {name} is {value[name]!r}, expected a word; download the file again.")
    return value
