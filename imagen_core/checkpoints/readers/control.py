"""How is a control kept in one .safetensors file: its weights, its settings, and the fingerprint of its base?

Metadata (strings): format "imagen-adapter", format_version, adapter (JSON: kind and settings), base (JSON: stage, unet,
fingerprint), training (JSON). With base_file, the name of its base's file, the weights that it takes over from there are
kept as their change, as `_changed` says, and read with those of the file of that name beside it.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..._safetensors import write_safetensors
from ..._settings_file import parsed
from ...adapters import Adapter, AdapterConfig, adapter_config_from_dict, adapter_config_to_dict, build_adapter
from ...fingerprint import KEY, Fingerprint
from ...sidecars import fingerprint
from ...unets import UNetConfig, unet_config_from_dict, unet_config_to_dict
from ...whole_files import whole
from ..int8 import in_eight_bits
from ..plausible import built_empty, check_settings, in_short
from ..stored import Stored, stored_at
from ..weights import Weights
from ._base import Reader, Reading, check_version
from ._changed import BASE_FILE, Learned, base_beside, base_file_of, merged

if TYPE_CHECKING:
    from ...stage import Stage

FORMAT = "imagen-adapter"
FORMAT_VERSION = 1
MOST_TIMES = 16  # as many tensors as an adapter has, its base may have at most


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """What an adapter's file says of it."""

    name: str  # of ADAPTERS
    config: AdapterConfig  # what it is built from
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


class ControlReader(Reader):
    """An adapter of this pack's, which `imagen train control` makes."""

    name: ClassVar[str] = "control"
    title: ClassVar[str] = "an Imagen control"
    kind: ClassVar[str] = "control"
    loader: ClassVar[str] = "Imagen Load Control"

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") == FORMAT

    def files_beside(self, stored: Stored) -> list[Path]:
        return base_beside(stored)

    def read(self, stored: Stored) -> Reading:
        check_version(stored, FORMAT_VERSION)
        try:
            spec = _metadata_to_spec(stored.metadata, len(stored.shapes))
            base = base_file_of(stored) if BASE_FILE in stored.metadata else None
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{stored.path}: {in_short(error)}") from error
        build = partial(build_adapter, spec.name, spec.config, spec.base)
        if base is None:
            return Reading(spec=spec, build=build)
        return Reading(spec=spec, build=build, naming=f"change of {base}", weights=partial(_merged, stored, spec, base))


def _merged(stored: Stored, spec: AdapterSpec, base: str) -> AbstractContextManager[Weights]:
    """The weights of an adapter that is kept as a change. ValueError where its base is not beside it, or it has none."""
    network = built_empty(partial(build_adapter, spec.name, spec.config, spec.base), stored.path)
    if network.taken_over is None:
        raise ValueError(
            f"{stored.path} is kept as a change of {base}, of which an adapter of the kind {spec.name} has nothing: it is "
            "damaged; download or train it again"
        )
    named = {"prefix": f"{network.taken_over}.", "wanted": network.state_dict().keys()}
    return merged(stored, stored.folder / base, spec.fingerprint, **named)


def save_adapter_change(path: str | os.PathLike[str], learned: Learned, spec: AdapterSpec, base: str) -> None:
    """Write an adapter to `path`, whole or not at all, as its change of the file called `base`, beside which it is read."""
    with whole(Path(path)) as draft:
        write_safetensors(draft, learned.stored(), spec_to_metadata(spec) | {BASE_FILE: base})


def read_adapter_change(path: str | os.PathLike[str]) -> Learned | None:
    """What a file keeps, its base unread; None for an adapter that is kept whole. Errors as `load_any`."""
    with stored_at(Path(path)) as stored:
        return Learned.of(stored) if BASE_FILE in stored.metadata else None


def save_adapter(
    path: str | os.PathLike[str], adapter: Adapter, spec: AdapterSpec, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write it to `path`, whole or not at all; weights are stored as `dtype`, of int8 as `save_checkpoint` says."""
    tensors = {key: value.detach().cpu() for key, value in adapter.state_dict().items()}
    stored = in_eight_bits(tensors) if dtype == torch.int8 else {key: part.to(dtype) for key, part in tensors.items()}
    with whole(Path(path)) as draft:
        write_safetensors(draft, {key: part.contiguous() for key, part in stored.items()}, spec_to_metadata(spec))


def spec_to_metadata(spec: AdapterSpec) -> dict[str, str]:
    """What a control's file says beside its weights."""
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "adapter": json.dumps(adapter_config_to_dict(spec.name, spec.config)),
        "unet": json.dumps(unet_config_to_dict(spec.base)),
        KEY: spec.fingerprint.to_json(),
        "training": json.dumps(spec.training),
    }


def _metadata_to_spec(metadata: dict[str, str], tensors: int) -> AdapterSpec:
    told = {name: parsed(metadata.get(name, ""), f"metadata {name!r}") for name in ("adapter", "unet", "training")}
    name, config = adapter_config_from_dict(told["adapter"])
    base = unet_config_from_dict(told["unet"])
    check_settings(base, MOST_TIMES * tensors)
    return AdapterSpec(
        name=name,
        config=config,
        base=base,
        fingerprint=Fingerprint.from_json(metadata.get(KEY, ""), f"metadata {KEY!r}"),
        training=told["training"],
    )
