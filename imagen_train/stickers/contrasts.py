"""Which sentence is nearly true of a scene, but not? One thing changed, the rest said in the same words (hard negatives).

What a CLIP must be shown, or it reads captions as bags of words: Yuksekgonul et al., arXiv 2210.01936 (NegCLIP).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

from . import backdrops
from .captions import Caption, Habits, write_caption
from .colors import COLORS
from .names import Thing
from .scene import STYLES, Scene

SWAPS = ("colors", "things", "places")  # of pairs: what the swap test exchanges
SAYS_ALL = Habits(style=1.0, color=1.0, backdrop=1.0, white=1.0, relation=1.0, keywords=0.0)


def swapped(scene: Scene, what: str) -> Scene | None:
    """The pair with its `what` exchanged, one of SWAPS; None where that would be the same, or for no pair.

    colors: each thing takes the other's; things: the colours stay where they are; places: the first becomes the second.
    """
    if scene.layout != "pair":
        return None
    a, b = scene.placed
    if what == "colors":
        a, b = dataclasses.replace(a, color=b.color), dataclasses.replace(b, color=a.color)
    elif what == "things":
        a, b = dataclasses.replace(a, thing=b.thing), dataclasses.replace(b, thing=a.thing)
    else:
        a, b = b, a
    found = dataclasses.replace(scene, placed=(a, b))
    return None if _said_of(found) == _said_of(scene) else found


def contrasted(scene: Scene, things: list[int], rng: Random) -> Scene:
    """The scene with one thing about it changed: of a pair what SWAPS names, else a colour, a count, a thing, ..."""
    if scene.layout == "pair" and rng.random() < 0.8:
        found = swapped(scene, rng.choice(SWAPS))
        return found or swapped(scene, "places")
    ways: list[Callable[[Scene, list[int], Random], Scene]] = [_other_style, _other_backdrop, _other_thing]
    if scene.layout == "several":
        ways = [_other_count]
    elif any(placed.color for placed in scene.placed):
        ways += [_other_color] * 3
    return rng.choice(ways)(scene, things, rng)


def two_captions(scene: Scene, other: Scene, vocabulary: tuple[Thing, ...], rng: Random) -> tuple[Caption, Caption]:
    """A true caption and one of the other scene that differs from it in what the scenes differ in; both say all."""
    seed = rng.getrandbits(32)
    return tuple(write_caption(each, vocabulary, Random(seed), SAYS_ALL) for each in (scene, other))


def _said_of(scene: Scene) -> tuple:
    return tuple((placed.thing, placed.color) for placed in scene.placed)


def _other(values: tuple | list, than: object, rng: Random):
    return rng.choice([value for value in values if value != than])


def _other_style(scene: Scene, things: list[int], rng: Random) -> Scene:
    return dataclasses.replace(scene, style=_other(STYLES, scene.style, rng))


def _other_backdrop(scene: Scene, things: list[int], rng: Random) -> Scene:
    return dataclasses.replace(scene, backdrop=_other(backdrops.NAMES, scene.backdrop, rng))


def _other_thing(scene: Scene, things: list[int], rng: Random) -> Scene:
    which = rng.randrange(len(scene.placed))
    return _changed(scene, which, thing=_other(things, scene.placed[which].thing, rng))


def _other_color(scene: Scene, things: list[int], rng: Random) -> Scene:
    which = rng.choice([i for i, placed in enumerate(scene.placed) if placed.color])
    return _changed(scene, which, color=_other(COLORS, scene.placed[which].color, rng))


def _other_count(scene: Scene, things: list[int], rng: Random) -> Scene:
    count = _other((2, 3, 4, 5), len(scene.placed), rng)
    return dataclasses.replace(scene, placed=scene.placed[:1] * count)


def _changed(scene: Scene, which: int, **fields: object) -> Scene:
    placed = list(scene.placed)
    placed[which] = dataclasses.replace(placed[which], **fields)
    return dataclasses.replace(scene, placed=tuple(placed))
