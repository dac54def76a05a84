"""Does an adapter, a classifier, a control or a LoRA fit the stage that it is joined to?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .eight_bits import SCALE, WEIGHT, eight_bit_layers
from .fingerprint import Fingerprint, check_same, fingerprint_of

if TYPE_CHECKING:
    from .stage import Stage


def fingerprint(stage: Stage) -> Fingerprint:
    """The fingerprint of a stage, whatever device and dtype its weights are in; reads a few thousand of them."""
    state = stage.unet.state_dict()
    for name, layer in eight_bit_layers(stage.unet).items():  # looked at as the numbers that they are
        state[f"{name}.{WEIGHT}"] = layer.weight
        del state[f"{name}.{SCALE}"]
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return fingerprint_of(stage.spec.stage, shapes, state.__getitem__)


def check_fits(base: Fingerprint, stage: Stage, sidecar: str) -> None:
    """`check_same` of a stage; one that is kept as a change of its base fits what was made for that, too."""
    changed = stage.spec.change_of
    if changed is None or changed.layout != base.layout:
        check_same(base, fingerprint(stage), sidecar)
    else:
        check_same(base, changed, sidecar)
