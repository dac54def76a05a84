"""Which pictures show the same individual in another scene? Made-up figures, by number, each several times in a chunk.

Their captions say the backdrop and nothing of the figure: there are no words for it.

Shapes: n pictures of a set, s their side.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

import numpy as np

from .rendered import Rendered
from .stickers import backdrops
from .stickers.captions import unnamed_caption
from .stickers.figures import Figure, Pose, as_pixels, figure_of, laid

HELD_OUT = 1_000_000  # the first number of those that nothing is trained on
EACH = 4  # pictures of an individual in a chunk
WHITE, SCENERY, GRADIENT = 0.1, 0.45, 0.3  # of the backdrops; of the others; of plain ones
SIZES = (0.42, 0.8)  # of a figure's length, of the picture's side
PARTS = 1000  # in which a picture's side is counted, for labels in whole numbers


@dataclass(frozen=True)
class Sight:
    """One individual in one scene."""

    identity: int
    backdrop: str
    gradient: bool
    seed: int  # of the backdrop
    pose: Pose

    @property
    def figure(self) -> Figure:
        return figure_of(self.identity)

    def labels(self) -> dict[str, int]:
        """All of it in whole numbers: places and size in thousandths of the side, the angle in degrees."""
        pose = self.pose
        return {
            "identity": self.identity,
            "backdrop": backdrops.NAMES.index(self.backdrop),
            **{name: round(getattr(pose, name) * PARTS) for name in ("x", "y", "size")},
            "angle": round(pose.angle) % 360,
        }


def sight_of(identity: int, rng: Random) -> Sight:
    """An individual in any scene, wholly in the picture."""
    if rng.random() < WHITE:
        backdrop = "white"
    else:
        backdrop = rng.choice(tuple(backdrops.SCENES) if rng.random() < SCENERY else backdrops.PLAIN)
    size = round(rng.uniform(*SIZES), 3)
    slack = max(0.0, 0.5 - 0.54 * size)
    x, y = (round(0.5 + rng.uniform(-slack, slack), 3) for _ in range(2))
    gradient = backdrop in backdrops.PLAIN and backdrop != "white" and rng.random() < GRADIENT
    return Sight(identity, backdrop, gradient, rng.getrandbits(31), Pose(x, y, float(rng.randrange(360)), size))


def paint(sight: Sight, side: int = 64) -> np.ndarray:
    """The scene's picture (s s 3), uint8."""
    behind = backdrops.paint(sight.backdrop, side, sight.seed, gradient=sight.gradient)
    return as_pixels(laid(behind, sight.figure, sight.pose))


@dataclass(frozen=True, kw_only=True)
class IdentityKind:
    """Made-up figures, EACH pictures of every one. first: the number of the first individual of chunk 0."""

    name: str
    side: int = 64
    window: int | None = None
    chunk: int = 2048
    first: int = 0
    layouts: ClassVar[tuple[str, ...]] = ()

    def sights(self, index: int) -> list[Sight]:
        """What chunk `index` shows."""
        rng = Random(f"identities {self.first} {index}")
        each = self.chunk // EACH
        return [sight_of(self.first + index * each + place // EACH, rng) for place in range(self.chunk)]

    def rendered(self, index: int) -> Rendered:
        sights, rng = self.sights(index), Random(f"identities said {self.first} {index}")
        labels = [sight.labels() for sight in sights]
        return Rendered(
            np.stack([paint(sight, self.side) for sight in sights]),
            [unnamed_caption(None, 1, sight.backdrop, rng) for sight in sights],
            {name: [row[name] for row in labels] for name in labels[0]},
        )


KINDS = (
    IdentityKind(name="identities64"),
    IdentityKind(name="identities64_held_out", chunk=512, first=HELD_OUT),
)
