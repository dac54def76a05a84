"""How is an adapter kept in one .safetensors file: its weights, its settings, and the fingerprint of its base?

Metadata (strings): format "imagen-adapter", format_version, adapter (JSON: kind and settings), base (the fingerprint of the
network that it belongs to), unet (JSON: that network's settings), training (JSON). Nothing here ever unpickles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._foreign import what_is
from .._safetensors import SafetensorsFile, aligned, opened, write_safetensors
from .._settings_file import parsed
from .._walk import find_files
from ..adapters import Adapter, AdapterConfig, adapter_config_from_dict, adapter_config_to_dict, build_adapter
from ..fingerprint import KEY, Fingerprint, check_fits, fingerprint
from ..unets import UNetConfig, unet_config_from_dict, unet_config_to_dict
from ..whole_files import whole
from .plausible import check_settings, finite, in_short

if TYPE_CHECKING:
    from ..stage import Stage

FORMAT = "imagen-adapter"
FORMAT_VERSION = 1
MOST_TIMES = 16  # as many tensors as an adapter has, its base may have at most


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """What an adapter's file says of it."""

    name: str  # of ADAPTERS
    config: AdapterConfig
    base: UNetConfig  # the settings of the network that it was trained on
    fingerprint: Fingerprint  # of that network
    training: dict[str, Any] = field(default_factory=dict)  # how it was made

    @staticmethod
    def of(adapter: Adapter, stage: Stage, training: dict[str, Any] | None = None) -> AdapterSpec:
        """The description of an adapter that belongs to `stage`."""
        return AdapterSpec(
            name=adapter.name,
            config=adapter.config,
            base=adapter.base,
            fingerprint=fingerprint(stage),
            training=training or {},
        )


@dataclass(frozen=True, kw_only=True)
class LoadedAdapter:
    """An adapter, ready to steer: its network, and what its file says of it."""

    network: Adapter
    spec: AdapterSpec

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.device

    def check_fits(self, stage: Stage) -> None:
        """ValueError where the stage is not the network that this was trained on, nor one fine-tuned from it."""
        check_fits(self.spec.fingerprint, stage, "this control")


def save_adapter(
    path: str | os.PathLike[str], adapter: Adapter, spec: AdapterSpec, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write it to `path`, whole or not at all; weights are stored as `dtype`."""
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in adapter.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "adapter": json.dumps(adapter_config_to_dict(spec.name, spec.config)),
        KEY: spec.fingerprint.to_json(),
        "unet": json.dumps(unet_config_to_dict(spec.base)),
        "training": json.dumps(spec.training),
    }
    with whole(Path(path)) as draft:
        write_safetensors(draft, tensors, metadata)


def load_adapter(
    path: str | os.PathLike[str], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedAdapter:
    """The adapter in a file, in eval mode. FileNotFoundError; ValueError, naming it, for a pickle, a damaged file, or one
    that is no adapter of this pack.
    """
    path = Path(path)
    with opened(path) as file:
        spec = _spec_of(file)
        with torch.device("meta"):
            network = build_adapter(spec.name, spec.config, spec.base)
        expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        _check_keys(path, expected, file.shapes)
        weights = {key: _parameter(finite(file.read(key, dtype), path, key)) for key in expected}
    network.load_state_dict(weights, assign=True)
    return LoadedAdapter(network=network.to(device).eval().requires_grad_(False), spec=spec)


def find_adapters(folder: Path) -> Iterator[Path]:
    """Every adapter's file under `folder`, told by its header; a damaged file is not one."""
    return (path for path in find_files(folder) if path.suffix == ".safetensors" and _is_adapter(path))


def _is_adapter(path: Path) -> bool:
    try:
        with opened(path) as file:
            return file.metadata.get("format") == FORMAT
    except (ValueError, OSError):
        return False


def _parameter(tensor: torch.Tensor) -> torch.Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return aligned(tensor.contiguous(memory_format=layout))


def _check_keys(path: Path, expected: dict[str, tuple[int, ...]], stored: dict[str, tuple[int, ...]]) -> None:
    wrong = [key for key in {**expected, **stored} if expected.get(key) != stored.get(key)]
    if wrong:
        raise ValueError(
            f"{path}: {len(wrong)} weights are not what its settings ask for, first {min(wrong)!r}; "
            "it is damaged or from another version: download it again, or update"
        )


def _spec_of(file: SafetensorsFile) -> AdapterSpec:
    path, metadata = file.path, file.metadata
    if metadata.get("format") != FORMAT:
        what = what_is(file.shapes) or ("a stage" if metadata.get("format") == "imagen" else "of another kind")
        raise ValueError(f"{path} is no control of this pack but {what}: choose a file that imagen train control made")
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version[:9]) > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {version[:20]!r}, this pack reads {FORMAT_VERSION}; update the pack"
        )
    try:
        base = Fingerprint.from_json(metadata.get(KEY, ""), path)
        entries = {
            name: parsed(metadata.get(name, ""), f"metadata {name!r}") for name in ("adapter", "unet", "training")
        }
        return _spec_from(entries, base, len(file.shapes))
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path}: {in_short(error)}") from error


def _spec_from(entries: dict[str, Any], base: Fingerprint, tensors: int) -> AdapterSpec:
    name, config = adapter_config_from_dict(entries["adapter"])
    unet = unet_config_from_dict(entries["unet"])
    check_settings(unet, MOST_TIMES * tensors)
    return AdapterSpec(name=name, config=config, base=unet, fingerprint=base, training=entries["training"])
