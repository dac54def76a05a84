"""Where does a run stand, and how is that kept? One safetensors file, replaced as a whole: nothing is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imagen_core._safetensors import opened, write_safetensors
from imagen_core.whole_files import whole

from .optim import Optimizers
from .parallel import rank
from .sharding import gathered

STATE_FILE = "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands; `images` and `seconds` also count earlier runs whose weights this one began from."""

    step: int = 0
    seconds: float = 0.0
    images: int = 0


def save_state(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optim: Optimizers,
    state: RunState,
    helper: nn.Module | None = None,
) -> None:
    """Write weights, average and optimiser state as one file, atomically: process 0 does, the others give their shares."""
    groups = {"model": model.state_dict(), "ema": average.state_dict(), "optim": optim.state_tensors()}
    if helper is not None:
        groups["helper"] = helper.state_dict()
    tensors = {}
    for name, tensor in ((f"{group}/{k}", v) for group, ts in groups.items() for k, v in ts.items()):
        together = gathered(tensor.detach())
        if rank() == 0:
            tensors[name] = together.cpu().contiguous()
    if rank() != 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"step": state.step, "seconds": state.seconds, "images": state.images}
    with whole(folder / STATE_FILE) as draft:
        write_safetensors(draft, tensors, {"run": json.dumps(meta)})


def load_state(folder: Path, model: nn.Module, average: nn.Module, helper: nn.Module | None = None) -> RunState:
    """Fill the networks (and a helper if one was saved) from `save_state`'s file.

    What the networks have and the file lacks stays as it is, so that a run may go on with a grown network.

    ValueError: no state there, or another network's.
    """
    path = folder / STATE_FILE
    run, groups = _read(path, "model", "ema", "helper")
    try:
        for network, saved in ((model, groups["model"]), (average, groups["ema"])):
            if unexpected := network.load_state_dict(saved, strict=False).unexpected_keys:
                raise RuntimeError(f"it also has {unexpected[:3]}")
        if helper is not None and groups["helper"]:
            helper.load_state_dict(groups["helper"])
    except RuntimeError as error:
        raise ValueError(f"{path} holds another network than this stage's: {error}; use a new --state-dir") from error
    return RunState(**run)


def load_optimizers(folder: Path, optim: Optimizers) -> None:
    """Fill the optimisers from `save_state`'s file, once their parameters are in place."""
    optim.load_state_tensors(_read(folder / STATE_FILE, "optim")[1]["optim"])


def _read(path: Path, *wanted: str) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Where the run stood, and the tensors of the groups that are wanted. ValueError: no state there."""
    if not path.exists():
        raise ValueError(f"no training state at {path}: start without --resume, or point --state-dir at a run")
    with opened(path) as file:
        if "run" not in file.metadata:
            raise ValueError(f"{path} holds no run's state: point --state-dir at a run")
        groups: dict[str, dict[str, Tensor]] = {group: {} for group in wanted}
        for name in file.shapes:
            group, key = name.split("/", 1)
            if group in groups:
                groups[group][key] = file.read(name)
        return json.loads(file.metadata["run"]), groups
