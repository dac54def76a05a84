"""In which phrases is a picture put into words? One for each number, colour, thing, style and backdrop of scenes."""

from __future__ import annotations

from imagen_core.adapters.picture_words import PARTS, PictureWordsConfig

from .stickers import backdrops
from .stickers.captions import COUNTS
from .stickers.colors import COLORS
from .stickers.names import things
from .stickers.scene import STYLES

SAID = {"3d": ", 3D render", "flat": ", flat design", "cartoon": ", cartoon"}  # styles, as captions say them at last


def behind(name: str) -> str:
    """A backdrop as captions say it first."""
    return backdrops.SCENE_PHRASES.get(name, (f"on a {name} background",))[0]


def phrases() -> dict[str, list[tuple[str, str]]]:
    """Every phrase of every part, and the sentence before it in which it is read, in the order of scenes' facts."""
    fox, red = "a fox", "a red fox"
    told = {
        "number": [("", "a"), *(("", words[0]) for words in COUNTS.values())],
        "color": [("a", ""), *(("a", color) for color in COLORS)],
        "thing": [("a", thing.noun) for thing in things()],
        "style": [(red, SAID[style]) for style in STYLES],
        "backdrop": [(f"{fox}, cartoon", behind(name)) for name in backdrops.NAMES],
    }
    return {part: told[part] for part in PARTS}


def sizes() -> dict[str, tuple[int, int]]:
    """The settings of a `PictureWordsConfig`: phrases of each part, and tokens of the longest that is kept whole."""
    return {part: (len(told), getattr(PictureWordsConfig(), part)[1]) for part, told in phrases().items()}
