"""Which things, styles, colours and backdrops do weights know? What the pictures showed that their file says they saw.

Writes docs/things.md and the list in the help page of Imagen Text Encode (`imagen data things --write`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagen_core import read_spec
from imagen_core.whole_files import write

from . import backdrops
from .captions import STYLE_PHRASES
from .colors import COLORS
from .names import Thing, things
from .scene import Mix, hold_out

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "models" / "imagen-mini" / "things64.safetensors"
PAGE = ROOT / "docs" / "things.md"
HELP = {
    ROOT / "web" / "docs" / "ImagenTextEncode.md": "## The things imagen-mini knows",
    ROOT / "web" / "docs" / "ImagenTextEncode" / "zh.md": "## imagen-mini 认识的东西",
}
HEAD = """# What imagen-mini draws

Things by name: write one from this list, or a word that means it (in brackets). Everything may be combined.
`imagen data things --write` makes this page from the list of things and from what the shipped weights say they learned.
"""


@dataclass(frozen=True)
class Known:
    """What weights were shown. things: in alphabetical order."""

    things: tuple[Thing, ...]
    mix: Mix

    @property
    def styles(self) -> list[str]:
        """How a caption asks for each style: "a 3D emoji of a fox"."""
        return [STYLE_PHRASES[style][0].format("a fox") for style in dict.fromkeys(self.mix.styles)]

    @property
    def scenes(self) -> list[str]:
        return [phrases[0] for phrases in backdrops.SCENE_PHRASES.values()] if self.mix.scenery else []


def known(weights: Path = WEIGHTS) -> Known:
    """From the kind of pictures that a stage's file names. ValueError: it learned from others than drawings of things."""
    from ..data import KINDS, DrawingKind

    spec = read_spec(weights)
    if spec.enlarges:
        raise ValueError(f"{weights.name} enlarges, and nothing is asked of it by name: give a stage that draws")
    name = spec.training.get("pictures")
    kind = KINDS.get(name)
    if not isinstance(kind, DrawingKind):
        raise ValueError(f"{weights.name} learned from {name or 'unknown pictures'}, not from drawings of named things")
    listed, unseen = things(), hold_out(things()).things
    shown = [thing for i, thing in enumerate(listed) if thing.tier <= kind.tier and i not in unseen]
    return Known(tuple(sorted(shown, key=lambda thing: thing.noun.lower())), kind.mix)


def nouns(what: Known) -> str:
    """One line of all things, each with the words that mean it."""
    return ", ".join(t.noun + (f" ({', '.join(t.words)})" if t.words else "") for t in what.things)


def page(what: Known) -> str:
    """Markdown."""
    plain = ", ".join(f"on a {name} background" for name in ("white", "pink"))
    asked = [
        f"- **Style**: {'; '.join(what.styles)}",
        f"- **Colour**, before the thing: {', '.join(COLORS)}; without one, the thing's own",
        f"- **Backdrop**: {plain}, and so on for {', '.join(backdrops.PLAIN)}",
    ]
    if what.scenes:
        asked.append(f"- **Scene**: {', '.join(what.scenes)}")
    asked.append(
        "- **Several**: two green turtles, up to five; **pairs**: a fox to the left of a pear, a fox above a pear"
    )
    return "\n".join([HEAD, *asked, "", f"## {len(what.things)} things", "", nouns(what), ""])


def with_list(text: str, heading: str, what: Known) -> str:
    """A help page whose last chapter, `heading`, is the list of things."""
    return f"{text.partition(heading)[0].rstrip()}\n\n{heading}\n\n{nouns(what)}\n"


def pages(what: Known) -> dict[Path, str]:
    """Every file that holds the list, and what belongs in it."""
    helped = {path: with_list(path.read_text(encoding="utf-8"), heading, what) for path, heading in HELP.items()}
    return {PAGE: page(what), **helped}


def write_pages(what: Known) -> list[Path]:
    """Write them; returns their paths."""
    found = pages(what)
    for path, text in found.items():
        write(path, text.encode())
    return list(found)
