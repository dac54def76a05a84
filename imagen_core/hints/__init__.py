"""Which hints can be made of a picture, and what kind is a given one? One file each, found by discovery."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .._discovery import discover
from ._base import Hint
from .fitting import FITS, fitted, strokes_to_lines

HINTS: dict[str, type[Hint]] = discover(__name__, __path__, Hint)

__all__ = ["FITS", "HINTS", "Hint", "fitted", "kind_of", "resizing_of", "strokes_to_lines"]


def resizing_of(kind: str) -> str:
    """How hints of a kind are resized; kinds that are none of HINTS as pictures are."""
    return HINTS[kind].resizing if kind in HINTS else "smooth"


def kind_of(picture: Tensor, kinds: Sequence[str], asked: str | None) -> str:
    """Which of a control's kinds a hint (b 3 h w) in [-1, 1] is: `asked`, or the first that it is typical of, or fits.

    Raises ValueError, saying what was expected, for a kind that the control does not read and a picture that is none.
    """
    known = ", ".join(kinds)
    if asked is not None and asked not in kinds:
        raise ValueError(f"this control reads {known}, and no {asked}: choose one of these, or another control")
    candidates = [asked] if asked is not None else kinds
    fitting = [kind for kind in candidates if kind not in HINTS or HINTS[kind]().fits(picture)]
    if fitting:
        return next((kind for kind in fitting if kind not in HINTS or HINTS[kind]().typical(picture)), fitting[0])
    for misfit in (HINTS[kind]().misfit(picture) for kind in candidates):
        if misfit:
            raise ValueError(f"this hint is {misfit}")
    expected = " or ".join(f"{HINTS[kind].what} ({kind})" for kind in candidates)
    raise ValueError(f"this hint is not what the control reads, {expected}: make one of your picture with a hint node")
