"""Which scenes does a seed draw, and what do their captions say?"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from .captions import write_caption
from .scene import Scene, Thing
from .vocabulary import (
    BACKDROPS,
    COLORS,
    HELD_OUT_PAIRS,
    LABELS,
    LAYOUTS,
    MATERIALS,
    MAX_LETTERS,
    SIGN,
    SIZES,
    TRAINING_PAIRS,
    WORDS,
)

LAYOUT_PERCENT = {
    **{"one": 32, "two": 6, "three": 6, "trio": 6, "sign": 12},
    **{"left": 12, "right": 12, "above": 7, "below": 7},
}
_LAYOUT_DRAWS = tuple(LAYOUTS.index(name) for name, percent in LAYOUT_PERCENT.items() for _ in range(percent))
_MATERIAL_DRAWS = tuple(MATERIALS.index(name) for name in ("matte", "matte", "shiny", "striped", "checkered"))
_SIZED_LAYOUTS = {"one": 0.6, "two": 0.3, "three": 0.2, "left": 0.25, "right": 0.25}  # how often a thing is not medium
_THINGS = {"one": 1, "sign": 1, "trio": 3}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OBJECT_PAIRS = {
    held_out: tuple(pair for pair in pairs if pair[1] != SIGN)
    for held_out, pairs in ((False, TRAINING_PAIRS), (True, HELD_OUT_PAIRS))
}
_SIGN_PAIRS = {
    held_out: tuple(pair for pair in pairs if pair[1] == SIGN)
    for held_out, pairs in ((False, TRAINING_PAIRS), (True, HELD_OUT_PAIRS))
}


@dataclass(frozen=True, kw_only=True)
class SceneBatch:
    """b scenes with their captions; `batch[i:j]` is a batch too, and `len(batch)` is b.

    captions: what a person would write. parses: the canonical form of what the caption states, for instance
    "left ; a red sphere matte ; b blue cube ; backdrop blue" (the layout is "beside" where the caption leaves the order
    of two things open). labels: for each of LABELS the picture's truth, (b,) long, -1 where the scene has no such thing
    (a sign has no size and no material). stated: for each of LABELS, (b,) bool, whether the caption says it.
    words: what the sign says, None elsewhere. scenes: the content that `pack` places.
    """

    captions: list[str]
    parses: list[str]
    labels: dict[str, Tensor]
    stated: dict[str, Tensor]
    words: list[str | None]
    scenes: list[Scene]
    seeds: Tensor  # (b,) long: what a scene's small accidents (pose, light, camera) are drawn from

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, part: slice) -> "SceneBatch":
        if not isinstance(part, slice):
            raise ValueError(f"SceneBatch is indexed by a slice, got {part!r}: for one scene write batch[i:i + 1]")
        return SceneBatch(
            captions=self.captions[part],
            parses=self.parses[part],
            labels={name: values[part] for name, values in self.labels.items()},
            stated={name: values[part] for name, values in self.stated.items()},
            words=self.words[part],
            scenes=self.scenes[part],
            seeds=self.seeds[part],
        )


def sample_scenes(count: int, *, seed: int, held_out: bool = False) -> SceneBatch:
    """`count` random scenes with captions; the same arguments give the same batch.

    held_out: the first thing's (color, shape) is a pair that training never shows, and the stream is another one, so
    that no seed of the one set repeats a scene of the other.
    """
    if count < 1 or seed < 0:
        raise ValueError(f"count must be at least 1 and seed at least 0, got {count} and {seed}")
    rng = Random(2 * seed + held_out)  # even streams train, odd ones test
    scenes = [_sample_scene(rng, held_out) for _ in range(count)]
    return describe_scenes(scenes, rng)


def sample_captions(count: int, *, seed: int, held_out: bool = False) -> SceneBatch:
    """The same batch as `sample_scenes`: scenes are placed only when they are rendered, so captions alone are cheap."""
    return sample_scenes(count, seed=seed, held_out=held_out)


def describe_scenes(scenes: Sequence[Scene], rng: Random) -> SceneBatch:
    """Scenes of one's own making with random captions, as a batch."""
    captions = [write_caption(scene, rng) for scene in scenes]
    labels = torch.tensor([_labels(scene) for scene in scenes])  # (b, labels)
    stated = torch.tensor([[name in caption.stated for name in LABELS] for caption in captions])  # (b, labels)
    return SceneBatch(
        captions=[caption.text for caption in captions],
        parses=[caption.parse for caption in captions],
        labels=dict(zip(LABELS, labels.unbind(1), strict=True)),
        stated=dict(zip(LABELS, stated.unbind(1), strict=True)),
        words=[scene.word for scene in scenes],
        scenes=list(scenes),
        seeds=torch.tensor([rng.getrandbits(62) for _ in scenes]),
    )


def _sample_scene(rng: Random, held_out: bool) -> Scene:
    layout = _LAYOUT_DRAWS[int(rng.random() * 100)]
    name = LAYOUTS[layout]
    things: list[Thing] = []
    for index in range(_THINGS.get(name, 2)):
        things.append(_sample_thing(rng, held_out and index == 0, name, {thing[:2] for thing in things}))
    if name in ("two", "three"):
        things = [things[0]] * (2 if name == "two" else 3)
    return Scene(layout, _sample_backdrop(rng, things), tuple(things), _sample_word(rng) if name == "sign" else None)


def _sample_thing(rng: Random, held_out: bool, layout: str, taken: set[tuple[int, int]]) -> Thing:
    pairs = (_SIGN_PAIRS if layout == "sign" else _OBJECT_PAIRS)[held_out]
    color, shape = pairs[int(rng.random() * len(pairs))]
    if (color, shape) in taken:
        return _sample_thing(rng, held_out, layout, taken)
    if layout == "sign":
        return Thing(color, shape)
    material = _MATERIAL_DRAWS[int(rng.random() * len(_MATERIAL_DRAWS))]
    odd_size = rng.random() < _SIZED_LAYOUTS.get(layout, 0.0)
    return Thing(color, shape, material, SIZES.index("small" if rng.random() < 0.5 else "large") if odd_size else 1)


def _sample_backdrop(rng: Random, things: Sequence[Thing]) -> int:
    """Any backdrop, though seldom one of a thing's own color, on which that thing is hard to make out."""
    backdrop = int(rng.random() * len(BACKDROPS))
    own_color = BACKDROPS[backdrop] in {COLORS[thing.color] for thing in things}
    return _sample_backdrop(rng, things) if own_color and rng.random() < 0.7 else backdrop


def _sample_word(rng: Random) -> str:
    if rng.random() < 0.5:
        return WORDS[int(rng.random() * len(WORDS))]
    return "".join(_LETTERS[int(rng.random() * 26)] for _ in range(2 + int(rng.random() * (MAX_LETTERS - 1))))


def _labels(scene: Scene) -> list[int]:
    first, pair = scene.things[0], len(scene.things) > 1 and scene.layout_name not in ("two", "three")
    is_sign = scene.layout_name == "sign"
    return [
        scene.layout,
        scene.backdrop,
        -1 if is_sign else first.size,
        first.color,
        first.shape,
        -1 if is_sign else first.material,
        scene.things[1].color if pair else -1,
        scene.things[1].shape if pair else -1,
    ]
