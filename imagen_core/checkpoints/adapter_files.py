"""How does an adapter come from its file, and does it belong to the stage that it is joined to?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..adapters import Adapter
from ..sidecars import check_fits
from .formats import find_checkpoints, load_any
from .readers.control import AdapterSpec

if TYPE_CHECKING:
    from ..stage import Stage


@dataclass(frozen=True, kw_only=True)
class LoadedAdapter:
    """An adapter, ready to steer: its network, and what its file says of it."""

    network: Adapter
    spec: AdapterSpec

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def check_fits(self, stage: Stage) -> None:
        """ValueError where the stage is not the network that this was trained on, nor one fine-tuned from it."""
        check_fits(self.spec.fingerprint, stage, "this control")


def load_adapter(
    path: str | os.PathLike[str], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedAdapter:
    """The adapter in a file, in eval mode. Errors as `formats.load_any`."""
    network, spec = load_any(path, kind="control", dtype=dtype)
    return LoadedAdapter(network=network.to(device).requires_grad_(False), spec=spec)


def find_adapters(folder: Path) -> Iterator[Path]:
    """Every adapter's file under `folder`, as `formats.find_checkpoints` lists them."""
    return find_checkpoints(folder, "control")
