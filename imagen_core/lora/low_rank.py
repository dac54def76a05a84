"""How does a LoRA change a network? W + strength * alpha / r * up down, weight by weight (arXiv 2106.09685, section 4.1).

Shapes: o outputs, i inputs and k x k the kernel of a layer, r the rank. down is (r i) or (r i k k), up (o r) or (o r 1 1).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..eight_bits import SCALE, WEIGHT, EightBits, eight_bit_layers, rounded
from ..fingerprint import Fingerprint
from ..sidecars import check_fits
from ..stage import Stage


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """The change of one layer's weight."""

    up: Tensor
    down: Tensor
    alpha: float  # r for the change as it was learned

    def delta(self, strength: float = 1.0) -> Tensor:
        """What is added to the weight, in float32: (o i) or (o i k k)."""
        change = self.up.float().flatten(1) @ self.down.float().flatten(1)  # o i*k*k
        scale = strength * self.alpha / self.down.shape[0]
        return scale * change.view(self.up.shape[0], *self.down.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Changes by the name of the layer. `base`: the stage that it was learned on, where the file says it."""

    changes: Mapping[str, LowRank]
    base: Fingerprint | None = None
    training: Mapping[str, object] = dataclasses.field(default_factory=dict)  # how it was made
    # How a stage wants to be sampled that it has changed, where that is another way than its own: steps, guidance_scale ...
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def with_lora(stage: Stage, lora: Lora, strength: float = 1.0, *, device: torch.device | None = None) -> Stage:
    """A stage with the changes in its weights; those that stay are shared with `stage`, which keeps its own.

    device: where the weights are to lie; where they are when None. strength: 0 is the stage as it is, below 0 the reverse.
    Raises ValueError for a LoRA of another network.
    """
    if lora.base is not None:
        check_fits(lora.base, stage, "this LoRA")
    weights = dict([*stage.unet.named_parameters(), *stage.unet.named_buffers()])  # buffers: those in eight bits
    changes = {name: _shown_more(name, change, stage, weights) for name, change in lora.changes.items()}
    for name, change in changes.items():
        _check_place(name, change, weights)
    network = _with_weights(stage.unet, {name: change.delta(strength) for name, change in changes.items()}, device)
    defaults = {**stage.spec.defaults, **lora.defaults} if strength else stage.spec.defaults
    spec = dataclasses.replace(stage.spec, defaults=defaults)
    return Stage(unet=network, schedule=stage.schedule, spec=spec, max_rows=stage.max_rows)


def _shown_more(name: str, change: LowRank, stage: Stage, weights: Mapping[str, Tensor]) -> LowRank:
    """A stem's change of a stage that is shown less than this one, which is a change of it."""
    key = f"{name}.weight"
    if stage.spec.change_of is None or key not in weights:
        return change
    down = stage.spec.unet_config.shown_more(key, change.down, weights[key].shape[1])
    return dataclasses.replace(change, down=down)


def _check_place(name: str, change: LowRank, weights: Mapping[str, Tensor]) -> None:
    weight = weights.get(f"{name}.weight")
    shape = (change.up.shape[0], *change.down.shape[1:])
    if weight is None or tuple(weight.shape) != shape or change.up.shape[1] != change.down.shape[0]:
        there = "there is no such layer" if weight is None else f"it is {tuple(weight.shape)}"
        raise ValueError(f"this LoRA changes {name!r} of shape {shape}, and here {there}: load it on its own base")


def _with_weights(network: nn.Module, deltas: Mapping[str, Tensor], device: torch.device | None) -> nn.Module:
    """A copy that shares the memory of all weights but those that are changed."""
    shared: dict[int, Tensor] = {}
    for name, layer in eight_bit_layers(network).items():
        shared |= _coarse(layer, deltas.get(name), device)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if id(tensor) in shared:
            continue
        value = tensor.detach() if device is None else tensor.detach().to(device)
        delta = deltas.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if delta is not None:
            changed = (value.float() + delta.to(value.device)).to(value.dtype)
            value = changed.contiguous(memory_format=torch.channels_last) if changed.ndim == 4 else changed
        is_weight = isinstance(tensor, nn.Parameter)
        shared[id(tensor)] = nn.Parameter(value, requires_grad=False) if is_weight else value
    return copy.deepcopy(network, shared)


def _coarse(layer: EightBits, delta: Tensor | None, device: torch.device | None) -> dict[int, Tensor]:
    """The tensors of a layer in eight bits, with the change rounded into them, by the ids of those that they replace."""
    old = [layer._buffers[name] for name in (WEIGHT, SCALE)]  # get_buffer would make the weight anew
    new = old
    if delta is not None:
        new = rounded(layer.weight.float() + delta.to(old[0].device), old[1].dtype)
    return {id(a): b if device is None else b.to(device) for a, b in zip(old, new, strict=True)}
