"""Which adapters are there, and how is one built from its settings? One file each, found by discovery."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from .._discovery import discover
from ..unets import UNetConfig, settings_from_dict
from ._base import Adapter, AdapterConfig, Given
from ._clip_sight import sight_of
from ._layer_weights import LINEAR, WEIGHT_TYPES
from .image_prompt import COMBINE

ADAPTERS: dict[str, type[Adapter]] = discover(__name__, __path__, Adapter)

__all__ = [
    "ADAPTERS",
    "COMBINE",
    "LINEAR",
    "WEIGHT_TYPES",
    "Adapter",
    "AdapterConfig",
    "Given",
    "adapter_config_from_dict",
    "adapter_config_to_dict",
    "build_adapter",
    "sight_of",
]


def build_adapter(name: str, config: AdapterConfig, base: UNetConfig) -> Adapter:
    """A fresh adapter of a kind in ADAPTERS for a network of settings `base`, which it does not change at first."""
    if name not in ADAPTERS:
        raise ValueError(f"unknown adapter {name!r}: expected one of {', '.join(sorted(ADAPTERS))}")
    return ADAPTERS[name](config, base).to(memory_format=torch.channels_last)


def adapter_config_to_dict(name: str, config: AdapterConfig) -> dict[str, Any]:
    """Settings as plain JSON data, with "kind" naming the adapter."""
    return {"kind": name, **asdict(config)}


def adapter_config_from_dict(settings: dict[str, Any]) -> tuple[str, AdapterConfig]:
    """Inverse of `adapter_config_to_dict`. ValueError naming an unknown kind or setting, or a value of the wrong type."""
    settings = dict(settings)
    name = settings.pop("kind", None)
    if name not in ADAPTERS:
        raise ValueError(f"unknown adapter {name!r}: expected one of {', '.join(sorted(ADAPTERS))}")
    return name, settings_from_dict(ADAPTERS[name].config_cls, settings, name)
