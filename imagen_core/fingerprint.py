"""Which network is this, however it is rounded or fine-tuned? A hash of its layout, and where a few weights point.

The file of a sidecar (adapter, classifier, control, LoRA, prior) or of a change carries its base's fingerprint: what the
network's tensors are called and shaped, and where a few of its weights point. Rounding (fp16, bf16) and fine-tuning move
these hardly, another training moves them at random.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ._settings_file import is_number, parsed

KEY = "base"  # of a sidecar's metadata
PROBES = 16
COUNT = 4096  # numbers that are looked at in each probed tensor
FAR = (
    0.5  # root mean square between probes: the same weights in bf16 are below 0.01, those of another training about 1.4
)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a sidecar says of its base."""

    stage: str  # what people call it, as in StageSpec.stage
    layout: str  # hash of the network's names and shapes
    weights: tuple[float, ...]  # projections of some weights, each of deviation 1 over trainings

    def to_json(self) -> str:
        """As a file's metadata keeps it, under `KEY`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str, source: object) -> Fingerprint:
        """Inverse of `to_json`. ValueError, naming `source`, for what is none."""
        content = parsed(text, source)
        if not isinstance(content, dict) or not _is_fingerprint(content):
            raise ValueError(f"{source}: its metadata {KEY!r} is no fingerprint of a stage; download the file again")
        return Fingerprint(
            stage=content["stage"], layout=content["layout"], weights=tuple(map(float, content["weights"]))
        )


def _is_fingerprint(content: dict[str, Any]) -> bool:
    weights = content.get("weights")
    words = all(isinstance(content.get(name), str) for name in ("stage", "layout"))
    return words and isinstance(weights, list) and all(map(is_number, weights))


def fingerprint_of(stage: str, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor]) -> Fingerprint:
    """The fingerprint of a network that is not loaded: what is looked at of it is asked of `read`, by name."""
    ordered = sorted(shapes.items())
    matrices = [name for name, shape in ordered if len(shape) > 1]
    probed = {matrices[i * len(matrices) // PROBES]: None for i in range(PROBES)} if matrices else {}
    return Fingerprint(
        stage=stage,
        layout=hashlib.sha256(repr(ordered).encode()).hexdigest()[:16],
        weights=tuple(round(_projection(read(name)), 4) for name in probed),
    )


def _projection(tensor: Tensor) -> float:
    """The first numbers of a tensor along a fixed direction of signs, in units of their length; 0 where all are."""
    numbers = tensor.detach().reshape(-1)[:COUNT].to("cpu", torch.float64)
    signs = 1 - 2 * (torch.arange(len(numbers)) * 2654435761 % 2**32 // 2**15 % 2)  # Knuth's multiplicative hash
    length = numbers.norm().item()
    return (numbers @ signs.double()).item() / length if length else 0.0


def check_same(base: Fingerprint, found: Fingerprint, sidecar: str) -> None:
    """Raise ValueError, one sentence that calls it `sidecar` ("this classifier"), where `found` is not its base.

    A fine-tuned base fits what was made for its parent; a network of another shape, or of another training, does not.
    """
    if base.layout != found.layout:
        other = "" if base.stage == found.stage else f"a {base.stage} stage, and this is {found.stage}"
        raise ValueError(f"{sidecar} was made for {other or 'another network'}: load it beside its own base")
    pairs = list(zip(base.weights, found.weights, strict=False))
    if math.sqrt(sum((a - b) ** 2 for a, b in pairs) / max(len(pairs), 1)) > FAR:
        raise ValueError(
            f"{sidecar} was made for a {base.stage} stage with other weights than these: load it beside its own base"
        )
