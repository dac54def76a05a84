"""How is one stage kept in one .safetensors file: weights, and in its metadata everything needed to sample from them?

Metadata (strings): format "imagen", format_version, stage, unet (JSON), schedule (JSON), prediction_type,
learned_variance, defaults (JSON), training (JSON); low_res_resize and aug_zero_is_clean (JSON) where they are not as
our own stages have them. Nothing here ever unpickles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..predictions import prediction_of
from ..unets import UNetConfig, build_unet, unet_config_from_dict, unet_config_to_dict
from ..whole_files import whole

FORMAT = "imagen"
FORMAT_VERSION = 1
MAX_HEADER = 100_000_000  # the limit that safetensors sets itself
STAGES = ("base64", "sr256", "sr1024")
LOW_RES_RESIZES = ("area_bilinear", "align_corners")


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
        save_file(tensors, draft, metadata=_spec_to_metadata(spec))


def read_spec(path: str | os.PathLike[str]) -> StageSpec:
    """A checkpoint's description, without reading its weights. Errors as `load_checkpoint`."""
    with opened(Path(path)) as file:
        return _metadata_to_spec(Path(path), file.metadata())


def is_stage_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a list of stages should offer `path`, told from its header alone.

    False for a whole file of another kind. True for our stages, and for a damaged file or a pickle too, because loading
    that says what is wrong with it, and a name missing from a list says nothing.
    """
    try:
        with opened(Path(path)) as file:
            return (file.metadata() or {}).get("format") == FORMAT
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
        spec = _metadata_to_spec(path, file.metadata())
        if expected_stage is not None and spec.stage != expected_stage:
            raise ValueError(f"{path} is a {spec.stage} stage, and {expected_stage} is needed; choose another file.")
        with torch.device("meta"):
            unet = build_unet(spec.unet_config)
        _check_keys(path, file, unet)
        weights = {key: _as_parameter(file.get_tensor(key), dtype) for key in file.keys()}  # noqa: SIM118
    unet.load_state_dict(weights, assign=True)
    return unet.eval(), spec


def _as_parameter(stored: Tensor, dtype: torch.dtype) -> Tensor:
    layout = torch.channels_last if stored.ndim == 4 else torch.contiguous_format
    return stored.to(dtype).contiguous(memory_format=layout)


def _check_keys(path: Path, file: Any, unet: nn.Module) -> None:
    expected = unet.state_dict()
    stored = set(file.keys())
    for problem, keys in (("lacks", expected.keys() - stored), ("has unexpected", stored - expected.keys())):
        if keys:
            raise ValueError(
                f"{path} {problem} {len(keys)} weights for its own settings, first {min(keys)!r}; "
                "it is damaged or from another version: download it again, or update."
            )
    for key, tensor in expected.items():
        shape = tuple(file.get_slice(key).get_shape())
        if shape != tuple(tensor.shape):
            raise ValueError(
                f"{path}: {key!r} has shape {shape}, its settings ask for {tuple(tensor.shape)}; "
                "it is damaged or from another version: download it again, or update."
            )


def safetensors_header(path: Path) -> bytes:
    """The JSON that a safetensors file begins with, or what there is of it; nothing of another file. OSError."""
    with path.open("rb") as stream:
        start = stream.read(9)
        if start[8:] != b"{":
            return b""
        return b"{" + stream.read(min(int.from_bytes(start[:8], "little"), MAX_HEADER) - 1)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as a memory-mapped safetensors archive, or one clear error."""
    _refuse_foreign(path)
    try:
        file = safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); download or copy it again.") from error
    with file:
        yield file


def _refuse_foreign(path: Path) -> None:
    """Tell by content, not by name, what is no safetensors file, and above all what would run code when loaded."""
    if not path.exists():
        raise FileNotFoundError(f"No checkpoint at {path}; check the name, or put the file there.")
    if not path.is_file():
        raise ValueError(f"{path} is a folder; name the .safetensors file in it.")
    with path.open("rb") as stream:
        start = stream.read(512)
    # Eight bytes of header length, then JSON. The length may look like a pickle's first bytes, so JSON is asked first.
    if start[8:9] == b"{":
        return
    pickled = start.startswith(b"PK") or start[257:262] == b"ustar" or (start[:1] == b"\x80" and start[1:2] <= b"\x05")
    if pickled and len(start) > 1:
        raise ValueError(
            f"{path} is a pickle (.pt, .pth, .ckpt): loading it could run any code, so it is refused. "
            "Ask its author for .safetensors, or convert it on a machine you can spare."
        )
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull`.")
    raise ValueError(
        f"{path} is no .safetensors file, or is truncated ({path.stat().st_size} bytes); download or copy it again."
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


def _metadata_to_spec(path: Path, metadata: dict[str, str] | None) -> StageSpec:
    if not metadata or metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} holds weights, but not an Imagen stage of this pack (its metadata lacks format={FORMAT!r}) nor a "
            "DeepFloyd IF stage; choose another checkpoint."
        )
    version = metadata.get("format_version", "")
    if not version.isdigit() or int(version) > FORMAT_VERSION:
        raise ValueError(f"{path} has format_version {version!r}, this pack reads {FORMAT_VERSION}; update the pack.")
    try:
        return StageSpec(
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
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _entry(metadata: dict[str, str], key: str) -> str:
    if key not in metadata:
        raise ValueError(f"metadata lacks {key!r}; the file is damaged: download it again.")
    return metadata[key]


def _json_entry(metadata: dict[str, str], key: str, kind: type) -> Any:
    text = _entry(metadata, key)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"metadata {key!r} is no JSON ({error}); the file is damaged: download it again.") from error
    if not isinstance(value, kind):
        raise ValueError(f"metadata {key!r} is {value!r}, expected a {kind.__name__}; download the file again.")
    return value
