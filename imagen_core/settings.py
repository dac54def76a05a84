"""How do a user's choices (a name and a few numbers) become a guidance or a thresholding?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ._discovery import from_config
from .guidance import GUIDANCE, Guidance
from .thresholding import THRESHOLDINGS, Thresholding


def make_thresholding(method: str, **settings: Any) -> Thresholding:
    """The thresholding called `method`. Raises ValueError for an unknown method, or a setting it has not or refuses."""
    return from_config(THRESHOLDINGS, {"name": method, **settings}, kind="thresholding")


def make_guidance(
    method: str | Guidance | Sequence[Guidance] | None = None, *, scale: float, **settings: Any
) -> Guidance | tuple[Guidance, ...]:
    """A guidance of strength `scale`: by name, or a given one with its settings replaced; classifier-free when None.

    Of several given ones the first is changed. Raises ValueError for an unknown method, or a setting it has not or refuses.
    """
    if method is None or isinstance(method, str):
        return from_config(GUIDANCE, {"name": method or "classifier_free", "scale": scale, **settings}, kind="guidance")
    if isinstance(method, Guidance):
        return replace(method, scale=scale, **settings)
    first, *others = method
    return (replace(first, scale=scale, **settings), *others)
