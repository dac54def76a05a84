"""Which of the Imagen paper's claims hold at the scale of this pack? One file a claim, found by its `name`."""

from __future__ import annotations

from imagen_core._discovery import discover

from ._base import Claim

CLAIMS: dict[str, type[Claim]] = discover(__name__, __path__, Claim)
