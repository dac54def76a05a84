"""What is in one scene, in names' indices, before anything is placed or drawn?"""

from collections.abc import Sequence
from typing import NamedTuple

from .vocabulary import BACKDROPS, COLORS, LAYOUTS, MATERIALS, SHAPES, SIZES


class Thing(NamedTuple):
    """One object: indices into COLORS, SHAPES, MATERIALS and SIZES."""

    color: int
    shape: int
    material: int = 0
    size: int = 1


class Scene(NamedTuple):
    """One picture's content: layout and backdrop are indices; things stand in the order in which they are spoken of.

    In a trio that order is left to right. `word` is what the sign says, None elsewhere.
    """

    layout: int
    backdrop: int
    things: tuple[Thing, ...]
    word: str | None = None

    @property
    def layout_name(self) -> str:
        return LAYOUTS[self.layout]


def scene_from_names(layout: str, backdrop: str, things: Sequence[str], word: str | None = None) -> Scene:
    """A scene of one's own making, from canonical names.

    things: in the order in which they are spoken of, each a color and a shape, with a size or a material where it
    matters, for instance "red cube" or "large red sphere shiny". A layout "two" or "three" lists its thing that often.
    """
    return Scene(_index(LAYOUTS, layout), _index(BACKDROPS, backdrop), tuple(map(_read_thing, things)), word)


def _read_thing(text: str) -> Thing:
    values = {"material": 0, "size": SIZES.index("medium")}
    for name in text.split():
        for kind, options in (("color", COLORS), ("shape", SHAPES), ("material", MATERIALS), ("size", SIZES)):
            if name in options:
                values[kind] = options.index(name)
                break
        else:
            raise ValueError(f"no color, shape, material or size is called {name!r} (in {text!r}): see vocabulary.py")
    if not {"color", "shape"} <= set(values):
        raise ValueError(f"a thing needs a color and a shape, got {text!r}: write for instance 'red cube'")
    return Thing(**values)


def _index(options: Sequence[str], name: str) -> int:
    if name not in options:
        raise ValueError(f"expected one of {', '.join(options)}, got {name!r}")
    return options.index(name)
