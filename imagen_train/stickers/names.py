"""Which words name which drawing? Code points to names (emojibase), and our own list of things with checked words."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .packages import read
from .rendering import code_key
from .solids import CODES

LIST = Path(__file__).with_name("things.tsv")
DRAWN_TIER = 2  # the last one whose things imagen-mini draws


@dataclass(frozen=True)
class Thing:
    """A nameable thing. label: its emoji's name in emojibase. words: others that mean it. tier: learned 1st, 2nd, ..."""

    noun: str
    plural: str
    label: str
    words: tuple[str, ...]
    tier: int

    @property
    def head(self) -> str:
        """The noun with its article: "an owl", "sunglasses"."""
        return with_article(self.noun, self.noun == self.plural and self.noun.endswith("s"))


def with_article(phrase: str, bare: bool = False) -> str:
    """ "a" or "an" before a phrase, by its first letter (names of letters included: "a UFO", "an X-ray")."""
    if bare:
        return phrase
    first = phrase.split()[0]
    vowel = first[0].lower() in "aeiou" and not first.lower().startswith(("uni", "ufo", "eu", "one"))
    return f"{'an' if vowel else 'a'} {phrase}"


def regular_plural(noun: str) -> str:
    """fox -> foxes, city -> cities, house -> houses; irregular ones stand in the list."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


@cache
def things(path: Path = LIST) -> tuple[Thing, ...]:
    """Every thing of the list, in its order. ValueError: a noun stands there twice."""
    found, tier = {}, 1
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("== "):
            tier = int(line[3:])
            continue
        noun, label, words = (*line.split("\t"), "", "")[:3]
        noun, _, plural = noun.partition("/")
        if noun in found:
            raise ValueError(f"{path.name} lists {noun!r} twice")
        found[noun] = Thing(
            noun, plural or regular_plural(noun), label or noun, tuple(w for w in words.split("|") if w), tier
        )
    return tuple(found.values())


def codes_by_label(emojibase: Path) -> dict[str, str]:
    """Emoji name -> code points (as `code_key` writes them), from emojibase-data's archive; and the solids' names."""
    emoji = {entry["label"]: code_key(entry["hexcode"]) for entry in json.loads(read(emojibase, "en/data.json"))}
    return emoji | CODES


@dataclass(frozen=True)
class Vocabulary(ABC):
    """The list of things, and which of them a library has drawings of. `found`: by style, then by index in the list."""

    vocabulary: tuple[Thing, ...]

    @property
    @abstractmethod
    def found(self) -> Mapping[str, Mapping[int, object]]: ...

    @property
    def complete(self) -> list[int]:
        """Things that every style has a drawing of."""
        return sorted(set.intersection(*(set(each) for each in self.found.values())))

    def available(self, tier: int) -> list[int]:
        """Complete things up to a tier."""
        return [i for i in self.complete if self.vocabulary[i].tier <= tier]
