"""What do the small networks learn to draw? A hundred things, one in a picture, by name, colour and plain backdrop.

Every thing has a synonym without a word of its name ("puppy" of a dog), which training never says: what a network draws for
it is what its text encoder knew.

Shapes: n scenes, k alternatives, s a picture's side, l tokens, d text width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
import torch
from torch import Tensor

from imagen_core.conditioning import TextEmbeds
from imagen_core.text.t5 import T5TextEncoder
from imagen_train.data import drawings_folder, to_float
from imagen_train.stickers import backdrops
from imagen_train.stickers.captions import Habits, write_caption
from imagen_train.stickers.names import Thing
from imagen_train.stickers.nearest import other_colors, other_things
from imagen_train.stickers.pictures import Library, open_library, paint
from imagen_train.stickers.scene import Mix, Scene, SceneSampler

PLAIN = Mix(
    styles=("3d",),
    **{"several": 0.0, "pair": 0.0, "recolored": 0.4, "white": 0.1, "scenery": 0.0, "gradient": 0.0},
    **{"sized": 0.0, "flipped": 0.0, "loose": 0.0},
)
NAMED = Habits(style=0.0, color=1.0, backdrop=1.0, white=1.0, synonym=0.0, keywords=0.0)
BY_SYNONYM = dataclasses.replace(NAMED, synonym=1.0)


@dataclass(frozen=True)
class World:
    """The things and their pictures, s px a side."""

    count: int = 100
    side: int = 32

    @cached_property
    def library(self) -> Library:
        return open_library(drawings_folder())

    @cached_property
    def vocabulary(self) -> tuple[Thing, ...]:
        """The whole list, of each thing only the synonyms that share no word with its name."""
        return tuple(
            dataclasses.replace(
                thing, words=tuple(w for w in thing.words if not set(w.split()) & set(thing.noun.split()))
            )
            for thing in self.library.vocabulary
        )

    @cached_property
    def things(self) -> list[int]:
        """The first `count` of the list that have such a synonym."""
        return [i for i in self.library.available(2) if self.vocabulary[i].words][: self.count]

    def scenes(self, count: int, seed: int) -> list[Scene]:
        """Things take turns; colours and backdrops are drawn."""
        sampler = SceneSampler(self.vocabulary, self.things, PLAIN, all_things=True)
        rng = Random(f"claims {seed}")
        return [sampler.sample(rng, first=self.things[i % len(self.things)]) for i in range(count)]

    def captions(self, scenes: Sequence[Scene], habits: Habits, seed: int = 0) -> list[str]:
        rng = Random(f"captions {seed}")
        return [write_caption(scene, self.vocabulary, rng, habits).text for scene in scenes]

    def painted(self, scenes: Sequence[Scene]) -> np.ndarray:
        """(n s s 3) uint8."""
        return np.stack([paint(scene, self.library, self.side) for scene in scenes])

    def pictures(self, scenes: Sequence[Scene]) -> Tensor:
        """(n 3 s s) in [-1, 1]."""
        return to_float(self.painted(scenes))


class Judge:
    """Is the render that was asked for the nearest of all that differ in one respect? (imagen_train/stickers/nearest.py)"""

    def __init__(self, world: World, scenes: Sequence[Scene]) -> None:
        self.own = world.pictures(scenes)
        aspects: dict[str, Callable[[Scene], Iterator[Scene]]] = {
            "thing": lambda scene: other_things(scene, world.things),
            "color": lambda scene: other_colors(scene) if scene.placed[0].color else iter(()),
            "backdrop": lambda scene: (
                dataclasses.replace(scene, backdrop=name) for name in backdrops.PLAIN if name != scene.backdrop
            ),
        }
        self.others = {
            name: [world.painted(rest) if (rest := list(of(scene))) else None for scene in scenes]
            for name, of in aspects.items()
        }

    def shares(self, pictures: Tensor) -> dict[str, float]:
        """Of pictures (n 3 s s), for each aspect the share that is nearest to its own render; and their error, RMS."""
        own = (pictures - self.own).square().mean((1, 2, 3))
        found = {"error": own.sqrt().mean().item()}
        for name, each in self.others.items():
            right = [
                bool((to_float(rest) - picture).square().mean((1, 2, 3)).min() > mine)
                for picture, rest, mine in zip(pictures, each, own, strict=True)
                if rest is not None
            ]
            found[name] = sum(right) / len(right)
        return found


class Texts:
    """Captions, encoded once; `of` gives a batch's."""

    def __init__(self, encoder: T5TextEncoder, captions: Sequence[str]) -> None:
        self.captions = captions
        unique = sorted(set(captions), key=len)  # prompts of one length share a batch
        self.rows: dict[str, Tensor] = {}  # (l d) each
        for start in range(0, len(unique), 256):
            part = unique[start : start + 256]
            encoded = encoder.encode(part)
            for caption, row, mask in zip(part, encoded.embeds, encoded.mask, strict=True):
                self.rows[caption] = row[mask].clone()

    def of(self, indices: Sequence[int], dropped: Tensor | None = None) -> TextEmbeds:
        """(b l d); where `dropped` (b,) is True the null prompt: one token of zeros."""
        rows = [self.rows[self.captions[i]] for i in indices]
        if dropped is not None:
            rows = [
                torch.zeros_like(row[:1]) if gone else row for row, gone in zip(rows, dropped.tolist(), strict=True)
            ]
        lengths = torch.tensor([len(row) for row in rows])
        embeds = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return TextEmbeds(embeds=embeds, mask=torch.arange(embeds.shape[1]) < lengths[:, None])
