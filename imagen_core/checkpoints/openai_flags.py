"""What do shapes not tell of a network of OpenAI's? Its flags, under the names that their programs give them, as texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints


def told_flags(metadata: Mapping[str, str], flags: type) -> dict[str, Any]:
    """Fields of the dataclass `flags` that a file's metadata holds, int, bool or str. ValueError naming one that is none."""
    kinds = get_type_hints(flags)
    return {name: _parsed(name, metadata[name], kind) for name, kind in kinds.items() if name in metadata}


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is str or (kind is int and text.isdecimal() and len(text) < 6):
        return kind(text)
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValueError(f"metadata {name!r} is {text[:20]!r}, expected a {kind.__name__}")
