"""What is in a training picture? Things, each with style, colour, place and size, before a backdrop: known exactly.

Coordinates are fractions of the picture's side, so that one scene is the same at 64, 256 and 1024 px.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from random import Random

from . import backdrops
from .colors import COLORS
from .names import Thing

STYLES = ("3d", "flat", "cartoon")
RELATIONS = ("left", "above")  # the first thing is left of, or above, the second
LAYOUTS = ("one", "several", "pair")
SIZES = ("small", "normal", "large")


@dataclass(frozen=True)
class Placed:
    """One thing in the picture. color None: its own. x, y: centre; size: of its longer side."""

    thing: int
    color: str | None
    x: float
    y: float
    size: float
    flipped: bool


@dataclass(frozen=True)
class Scene:
    """A picture's content. relation: of a pair's first thing to its second. size: as a caption may say it of one thing."""

    layout: str
    style: str
    placed: tuple[Placed, ...]
    backdrop: str
    gradient: bool
    seed: int
    relation: str | None = None
    size: str = "normal"


@dataclass(frozen=True)
class Held:
    """What training never shows: two colours a thing, and some things altogether, none of them an everyday word."""

    colors: dict[int, tuple[str, ...]]
    things: frozenset[int]


RARE = 3  # the tier from which things are held out: people ask for a house and a book


def hold_out(vocabulary: tuple[Thing, ...], fraction: float = 0.15) -> Held:
    """Chosen by each noun alone, so that a longer list leaves the split of the shorter one as it was.

    fraction: of the rare things; of the whole list it is one in twenty.
    """
    colors, unseen = {}, set()
    for index, thing in enumerate(vocabulary):
        rng = Random(f"held out {thing.noun}")
        colors[index] = tuple(rng.sample(COLORS, 2))
        if rng.random() < fraction and thing.tier >= RARE:
            unseen.add(index)
    return Held(colors, frozenset(unseen))


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How often what is asked of the network; fractions of all pictures unless said otherwise."""

    styles: tuple[str, ...] = STYLES  # each as often as the others
    several: float = 0.06
    pair: float = 0.08
    recolored: float = 0.45  # of the things
    white: float = 0.2  # of the backdrops
    scenery: float = 0.15  # of the other backdrops
    gradient: float = 0.3  # of the plain ones
    sized: float = 0.16  # of the single things: small or large
    flipped: float = 0.5  # of the things
    loose: float = 1.0  # how far places and sizes stray from the middle of what they may be; 0: always the same


def placed_in_rows(one: Placed, rows: tuple[int, ...]) -> tuple[Placed, ...]:
    """So many of the same in each row, as large as they fit, in the middle of the picture."""
    size = 0.92 / max(*rows, len(rows), 2)
    step = size * 1.04
    return tuple(
        dataclasses.replace(
            one, x=0.5 + (column - (columns - 1) / 2) * step, y=0.5 + (row - (len(rows) - 1) / 2) * step, size=size
        )
        for row, columns in enumerate(rows)
        for column in range(columns)
    )


class SceneSampler:
    """Draws scenes of the available things, by the mix.

    held_out: every thing, and only in colours that training never shows on it. all_things: every thing, in training's
    colours.
    """

    def __init__(
        self,
        vocabulary: tuple[Thing, ...],
        available: list[int],
        mix: Mix,
        *,
        held_out: bool = False,
        all_things: bool = False,
    ):
        self.held, self.mix, self.held_out = hold_out(vocabulary), mix, held_out
        self.things = [i for i in available if held_out or all_things or i not in self.held.things]

    def sample(self, rng: Random, first: int | None = None) -> Scene:
        """One scene. first: the first thing, else any."""
        style = rng.choice(self.mix.styles)
        layout = rng.choices(LAYOUTS, (1 - self.mix.several - self.mix.pair, self.mix.several, self.mix.pair))[0]
        first = rng.choice(self.things) if first is None else first
        backdrop, gradient = self._backdrop(rng)
        placed, extra = getattr(self, f"_{layout}")(first, backdrop, rng)
        return Scene(layout, style, placed, backdrop, gradient, rng.getrandbits(31), **extra)

    def _backdrop(self, rng: Random) -> tuple[str, bool]:
        if rng.random() < self.mix.white:
            return "white", False
        if rng.random() < self.mix.scenery:
            return rng.choice(tuple(backdrops.SCENES)), False
        return rng.choice(backdrops.PLAIN), rng.random() < self.mix.gradient

    def _color(self, thing: int, backdrop: str, rng: Random) -> str | None:
        """A colour that training may show (or, held out, only what it may not); never the plain backdrop's own."""
        if rng.random() >= self.mix.recolored and not self.held_out:
            return None
        hidden = self.held.colors[thing]
        pool = hidden if self.held_out else [color for color in COLORS if color not in hidden]
        return rng.choice([color for color in pool if color != backdrop] or [None])

    def _place(self, thing: int, backdrop: str, rng: Random, x: float, y: float, size: float) -> Placed:
        return Placed(thing, self._color(thing, backdrop, rng), x, y, size, rng.random() < self.mix.flipped)

    def _stray(self, rng: Random, low: float, high: float) -> float:
        middle = (low + high) / 2
        return middle + self.mix.loose * (rng.uniform(low, high) - middle)

    def _one(self, first: int, backdrop: str, rng: Random) -> tuple[tuple[Placed, ...], dict]:
        name = rng.choices(SIZES, (self.mix.sized / 2, 1 - self.mix.sized, self.mix.sized / 2))[0]
        size = self._stray(rng, *{"small": (0.34, 0.48), "normal": (0.72, 0.86), "large": (0.93, 1.0)}[name])
        slack = (1 - size) / 3
        x, y = (0.5 + self._stray(rng, -slack, slack) for _ in range(2))
        return (self._place(first, backdrop, rng, x, y, size),), {"size": name}

    def _several(self, first: int, backdrop: str, rng: Random) -> tuple[tuple[Placed, ...], dict]:
        """Two to five of the same, alike in colour, in a loose row or two."""
        count = rng.choices((2, 3, 4, 5), (4, 3, 2, 1))[0]
        rows = {2: (2,), 3: (3,) if rng.random() < 0.5 else (1, 2), 4: (2, 2), 5: (2, 3)}[count]
        spots = placed_in_rows(self._place(first, backdrop, rng, 0, 0, 0), rows)
        return tuple(self._strayed(spot, rng) for spot in spots), {}

    def _strayed(self, spot: Placed, rng: Random) -> Placed:
        return dataclasses.replace(
            spot, x=spot.x + self._stray(rng, -0.015, 0.015), y=spot.y + self._stray(rng, -0.02, 0.02)
        )

    def _pair(self, first: int, backdrop: str, rng: Random) -> tuple[tuple[Placed, ...], dict]:
        second = rng.choice([i for i in self.things if i != first] or self.things)
        relation, size = rng.choice(RELATIONS), self._stray(rng, 0.42, 0.48)
        a, b, across = 0.26, 0.74, 0.5 + self._stray(rng, -0.06, 0.06)
        spots = ((a, across), (b, across)) if relation == "left" else ((across, a), (across, b))
        things = tuple(
            self._place(i, backdrop, rng, *spot, size) for i, spot in zip((first, second), spots, strict=True)
        )
        return things, {"relation": relation}
