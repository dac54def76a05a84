"""Which networks are there, and how is one built from its settings? One file each, found by discovery."""

from __future__ import annotations

import types
import typing
from dataclasses import asdict, fields
from typing import Any, TypeVar

import torch

from .._discovery import discover
from ._base import UNet, UNetConfig
from .adm import ADM, ADMConfig
from .base_unet import BaseUNet, BaseUNetConfig
from .deepfloyd_unet import DeepFloydUNet, DeepFloydUNetConfig
from .efficient_unet import EfficientUNet, EfficientUNetConfig
from .u_vit import UViT, UViTConfig

T = TypeVar("T")

UNETS: dict[str, tuple[type[UNetConfig], type[UNet]]] = {
    name: (network.config_cls, network) for name, network in discover(__name__, __path__, UNet).items()
}


def build_unet(config: UNetConfig) -> UNet:
    """A freshly initialised network, convolutions in channels_last memory; free under `torch.device("meta")`."""
    return UNETS[_kind(config)][1](config).to(memory_format=torch.channels_last)


def unet_config_to_dict(config: UNetConfig) -> dict[str, Any]:
    """Settings as plain JSON data, with "kind" naming the network."""
    return {"kind": _kind(config), **asdict(config)}


def unet_config_from_dict(settings: dict[str, Any]) -> UNetConfig:
    """Inverse of `unet_config_to_dict`; missing settings take their defaults.

    Raises ValueError naming an unknown kind, an unknown setting, or a value of the wrong type.
    """
    settings = dict(settings)
    kind = settings.pop("kind", None)
    if kind not in UNETS:
        raise ValueError(f"unknown network kind {kind!r}: expected one of {sorted(UNETS)}")
    return settings_from_dict(UNETS[kind][0], settings, f"{kind!r} network")


def settings_from_dict(config_cls: type[T], settings: dict[str, Any], what: str) -> T:
    """A frozen dataclass of settings from JSON data; `what` names the thing in errors, which are ValueErrors."""
    unknown = set(settings) - {field.name for field in fields(config_cls)}
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)} for a {what}: is it from a newer version?")
    hints = typing.get_type_hints(config_cls)
    return config_cls(**{name: _checked(name, value, hints[name]) for name, value in settings.items()})


def _kind(config: UNetConfig) -> str:
    for kind, (config_cls, _) in UNETS.items():
        if type(config) is config_cls:
            return kind
    known = [config_cls.__name__ for config_cls, _ in UNETS.values()]
    raise ValueError(f"{type(config).__name__} is no network's settings: expected one of {known}")


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type of its field: JSON knows lists only, so they become tuples."""
    if isinstance(value, (list, tuple)):
        value = tuple(value)
    if not _fits(value, hint):
        raise ValueError(f"setting {name!r} is {value!r}: expected {hint}")
    return value


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, typing.get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
