"""Which cached pictures is imagen-mini's CLIP shown, and what is in them? With their scenes, of which captions are written.

Shapes: b pictures, n of a cache, f facts of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .data import DrawingKind, PictureCache
from .stickers.backdrops import PLAIN
from .stickers.contrasts import swapped
from .stickers.scene import RELATIONS, Scene

FACTS = ("layout", "count", "thing", "thing_2", "style", "backdrop", "relation", "color", "color_2")
COUNT, THING, THING_2, RELATION, COLOR, COLOR_2 = 1, 2, 3, 6, 7, 8  # their places there
EXCHANGED = {"thing": "thing_2", "thing_2": "thing", "color": "color_2", "color_2": "color"}
STATED = {"style": (4,), "backdrop": (5,), "relation": (6,), "color": (7, 8)}  # which of them a caption may leave out


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Cached pictures and the scenes that they show, so that any true or false caption can be written of each."""

    cache: PictureCache
    scenes: list[Scene]
    facts: Tensor  # (n f), see FACTS; -1 where there is nothing to tell
    things: list[int]  # what there is in such pictures

    @staticmethod
    def of(cache: PictureCache) -> Captioned:
        """ValueError: the cache was rendered by other scenes than today's."""
        scenes = [scene for index in range(len(cache.chunks)) for scene in _scenes(cache, index)]
        facts = torch.tensor([cache.labels[name] for name in FACTS]).T.contiguous()
        return Captioned(cache=cache, scenes=scenes, facts=facts, things=sorted(set(facts[:, THING].tolist())))

    @property
    def pairs(self) -> Tensor:
        return (self.facts[:, THING_2] >= 0).nonzero()[:, 0]

    @cached_property
    def exchangeable(self) -> Tensor:
        """Pairs before one plain colour: rolled by half a side their things have changed places."""
        return torch.tensor(
            [row for row in self.pairs.tolist() if self.scenes[row].backdrop in PLAIN and not self.scenes[row].gradient]
        )

    def at(self, rows: Tensor) -> Shown:
        scenes = [self.scenes[row] for row in rows.tolist()]
        return Shown(self.cache.pictures(rows.tolist()), self.facts[rows], scenes)


@dataclass(frozen=True)
class Shown:
    """Some pictures, and what they show."""

    pixels: Tensor  # (b 3 64 64) in [-1, 1]
    facts: Tensor  # (b f)
    scenes: list[Scene]

    def exchanged(self) -> Shown:
        """Of pairs before a plain colour: each thing in the other's place."""
        half, first = self.pixels.shape[-1] // 2, RELATIONS.index("left")
        pixels = [
            pixels.roll(half, 2 if facts[RELATION] == first else 1)
            for pixels, facts in zip(self.pixels, self.facts, strict=True)
        ]
        order = [FACTS.index(EXCHANGED.get(name, name)) for name in FACTS]
        return Shown(
            torch.stack(pixels), self.facts[:, order], [swapped(scene, "places") or scene for scene in self.scenes]
        )


def _scenes(cache: PictureCache, index: int) -> list[Scene]:
    kind: DrawingKind = cache.kind
    scenes, first = kind.scenes(index), cache.starts[index]
    named = [scene.placed[0].thing for scene in scenes]
    if named != cache.labels["thing"][first : first + len(scenes)]:
        raise ValueError(f"{cache.folder} was rendered by other scenes than today's: delete it and render again")
    return scenes
