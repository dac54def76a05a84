"""What is in one scene, in names' indices, before anything is placed or drawn?"""

from typing import NamedTuple

from .vocabulary import LAYOUTS


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
