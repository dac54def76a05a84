"""In which phrases is a picture put into words? One for each number, colour, thing, style and backdrop of scenes."""

from __future__ import annotations

from dataclasses import dataclass

from imagen_core.adapters.picture_words import PARTS, PictureWordsConfig

from .stickers import backdrops
from .stickers.captions import COUNTS
from .stickers.colors import COLORS
from .stickers.names import DRAWN_TIER, things
from .stickers.scene import STYLES

SAID = {"3d": ", 3D render", "flat": ", flat design", "cartoon": ", cartoon"}  # styles, as captions say them at last


def behind(name: str) -> str:
    """A backdrop as captions say it first."""
    return backdrops.SCENE_PHRASES.get(name, (f"on a {name} background",))[0]


@dataclass(frozen=True)
class Phrase:
    """A phrase, and what stands before and behind it in the sentences in which it is read: its tokens are their mean."""

    text: str
    places: tuple[tuple[str, str], ...] = (("", ""),)

    def sentences(self) -> list[tuple[str, str]]:
        """Each sentence to where the phrase begins, and to where it ends."""
        return [(before, _joined(before, self.text)) for before, _ in self.places]

    def whole(self) -> list[str]:
        """Each sentence whole."""
        return [_joined(_joined(before, self.text), behind) for before, behind in self.places]


def _joined(left: str, right: str) -> str:
    return f"{left}{right}" if right[:1] == "," else f"{left} {right}".strip()


PAINTED = ("red", "blue", "green", "yellow")  # colours in which things are read: "a fox" alone is an orange one
SHOWN = ("apple", "fox", "car", "house", "umbrella", "book", "cat", "rocket")  # of which colours are read


def told_things() -> list[int]:
    """Which of `things()` are told, in order: those that imagen-mini draws."""
    return [number for number, thing in enumerate(things()) if thing.tier <= DRAWN_TIER]


def phrases() -> dict[str, list[Phrase]]:
    """Every phrase of every part, in the order of scenes' facts; of things those of `told_things`."""
    told_nouns = [things()[number].noun for number in told_things()]
    of_things = tuple(("a", noun) for noun in SHOWN)
    told = {
        "number": [Phrase("a"), *(Phrase(words[0]) for words in COUNTS.values())],
        "color": [Phrase(""), *(Phrase(color, of_things) for color in COLORS)],
        "thing": [Phrase(noun, tuple((f"a {color}", "") for color in PAINTED)) for noun in told_nouns],
        "style": [Phrase(SAID[style], (("a red fox", ""),)) for style in STYLES],
        "backdrop": [Phrase(behind(name), (("a fox, cartoon", ""),)) for name in backdrops.NAMES],
    }
    return {part: told[part] for part in PARTS}


def sizes() -> dict[str, tuple[int, int]]:
    """The settings of a `PictureWordsConfig`: phrases of each part, and tokens of the longest that is kept whole."""
    return {part: (len(told), getattr(PictureWordsConfig(), part)[1]) for part, told in phrases().items()}
