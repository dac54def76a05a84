"""How do a user's choices (a name and a few numbers) become a guidance or a thresholding?"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from .guidance import GUIDANCE, Guidance
from .thresholding import THRESHOLDINGS, Thresholding


def make_thresholding(method: str, **settings: Any) -> Thresholding:
    """The thresholding called `method`, with those of `settings` that it has (a percentile says nothing to static).

    Raises ValueError for an unknown method or a value out of range.
    """
    return _make(THRESHOLDINGS, "thresholding", method, settings)


def make_guidance(method: str | Guidance | None = None, *, scale: float, **settings: Any) -> Guidance:
    """A guidance of strength `scale`: by name, or a given one with its scale replaced; classifier-free when None.

    Raises ValueError for an unknown method or a value out of range.
    """
    if isinstance(method, Guidance):
        return replace(method, scale=scale)
    return _make(GUIDANCE, "guidance", method or "classifier_free", {"scale": scale, **settings})


def _make(registry: dict[str, type], kind: str, name: str, settings: dict[str, Any]) -> Any:
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}: choose one of {', '.join(sorted(registry))}")
    known = {field.name for field in fields(registry[name])}
    return registry[name](**{key: value for key, value in settings.items() if key in known})
