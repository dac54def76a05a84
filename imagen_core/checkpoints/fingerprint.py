"""Which network is this? A short name that follows from its weights, whatever precision they were loaded in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..stage import Stage

SAMPLED = 4096  # numbers of each weight: enough to tell networks apart, little to read of large ones


def fingerprint(stage: Stage) -> str:
    """Sixteen hexadecimal digits. The signs of weights, which no rounding changes, by name: fp16 and fp32 agree."""
    digest = hashlib.sha256(stage.spec.stage.encode())
    for name, weight in sorted(stage.unet.state_dict().items()):
        signs = weight.detach().flatten()[:SAMPLED].signbit().cpu().numpy()
        digest.update(f"{name} {tuple(weight.shape)}".encode() + np.packbits(signs).tobytes())
    return digest.hexdigest()[:16]
