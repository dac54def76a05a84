"""In which spaces does a stage draw? One file each, found by discovery: `SPACES` by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._discovery import discover, from_config
from ._base import Space
from .pixels import Pixels

SPACES: dict[str, type[Space]] = discover(__name__, __path__, Space)


def space_from_config(config: Mapping[str, Any]) -> Space:
    """Inverse of `_discovery.to_config`. Raises ValueError for an unknown name or setting."""
    return from_config(SPACES, config, kind="space")


__all__ = ["SPACES", "Pixels", "Space", "space_from_config"]
