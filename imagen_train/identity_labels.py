"""Who is shown in which of a set's pictures, and how does it stand? From the set's labels.

Shapes: n a set's pictures, b of a batch, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from imagen_core import draw_key_points

from .data import PictureCache
from .identities import PARTS

POSE = ("x", "y", "angle", "size")


@dataclass(frozen=True)
class Identities:
    """A set's pictures by who they show, and how each stands; x, y and size in shares of the side (n,)."""

    identity: Tensor  # (n,)
    pose: dict[str, Tensor]  # of POSE, each (n,)
    alike: dict[int, list[int]]  # the pictures of each individual

    @staticmethod
    def of(cache: PictureCache) -> Identities:
        """ValueError for pictures of which it is not known who is shown, and how."""
        if missing := [name for name in ("identity", *POSE) if name not in cache.labels]:
            raise ValueError(
                f"the pictures {cache.kind.name} have no labels {', '.join(missing)}, which say who is shown and how it "
                "stands: name such as do, identities64"
            )
        identity = torch.tensor(cache.labels["identity"])
        pose = {name: torch.tensor(cache.labels[name]) / (1.0 if name == "angle" else PARTS) for name in POSE}
        alike: dict[int, list[int]] = {}
        for picture, who in enumerate(identity.tolist()):
            alike.setdefault(who, []).append(picture)
        return Identities(identity, pose, alike)

    def other(self, picture: int, rng: Random) -> int:
        """Another picture of the same individual, if there is one."""
        others = [each for each in self.alike[int(self.identity[picture])] if each != picture]
        return rng.choice(others) if others else picture

    def key_points(self, pictures: list[int], height: int, width: int) -> Tensor:
        """How these stand, as pictures (b 3 h w) of their key points."""
        return draw_key_points(*(self.pose[name][pictures] for name in POSE), height=height, width=width)
