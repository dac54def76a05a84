"""How would a person ask for this scene? Names and synonyms, articles, orders, omissions; what was said is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from . import backdrops
from .colors import WORDS
from .names import Thing, regular_plural, with_article
from .scene import Placed, Scene

STYLE_PHRASES = {
    "3d": ("a 3D emoji of {}", "a 3D icon of {}", "{}, 3D render", "a shiny 3D {bare}", "a 3D rendering of {}"),
    "flat": (
        "a flat icon of {}",
        "a flat emoji of {}",
        "{}, flat design",
        "a flat {bare}",
        "a flat illustration of {}",
    ),
    "cartoon": (
        "a cartoon of {}",
        "a cartoon drawing of {}",
        "{}, cartoon",
        "a cartoon {bare}",
        "a cartoon emoji of {}",
    ),
}
COUNTS = {
    2: ("two", "two", "2", "a pair of"),
    3: ("three", "three", "3"),
    4: ("four", "four", "4"),
    5: ("five", "five", "5"),
}
RELATION_PHRASES = {
    "left": (
        "{a} to the left of {b}",
        "{a} left of {b}",
        "{a} on the left and {b} on the right",
        "{b} to the right of {a}",
        "{b} right of {a}",
    ),
    "above": (
        "{a} above {b}",
        "{a} on top of {b}",
        "{a} over {b}",
        "{b} below {a}",
        "{b} under {a}",
        "{b} beneath {a}",
    ),
}
UNORDERED = ("{a} and {b}", "{a} next to {b}", "{b} beside {a}")
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}


@dataclass(frozen=True)
class Caption:
    """A sentence, and which of "style", "color" (all of them), "backdrop", "relation" it states."""

    text: str
    stated: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How often captions say what: fractions."""

    style: float = 0.85
    color: float = 0.95  # of a recoloured thing; its own colour is never said
    backdrop: float = 0.8  # of one that is not white
    white: float = 0.4
    relation: float = 0.8  # of a pair: else "a fox and an owl", however they lie
    synonym: float = 0.12
    keywords: float = 0.05  # "red fox, pink background" without articles


def write_caption(scene: Scene, vocabulary: tuple[Thing, ...], rng: Random, habits: Habits = Habits()) -> Caption:
    """A random caption of the scene."""
    bare = rng.random() < habits.keywords
    says = {name: rng.random() < getattr(habits, name) for name in ("style", "color")}
    says["backdrop"] = rng.random() < (habits.white if scene.backdrop == "white" else habits.backdrop)
    phrase = rng.choice(STYLE_PHRASES[scene.style])
    if scene.layout != "one" and "{bare}" in phrase:
        phrase = STYLE_PHRASES[scene.style][0]
    subject, says["relation"] = _subject(scene, vocabulary, rng, habits, says["color"], bare or "{bare}" in phrase)
    text = subject
    if says["style"]:
        text = phrase.replace("{bare}", "{}").format(subject)
    elif "{bare}" in phrase and not bare:
        text = with_article(subject)
    if says["backdrop"]:
        text += _backdrop(scene.backdrop, bare, rng)
    return Caption(text, frozenset(name for name, said in says.items() if said))


UNNAMED = ("it", "this")


def unnamed_caption(style: str | None, count: int, backdrop: str, rng: Random) -> str:
    """What words may say of a picture whose thing a reference shows: style (None leaves it out), number, backdrop.

    "it on a pink background", "in the snow", "a flat icon of three of them at night".
    """
    behind = _backdrop(backdrop, False, rng)
    if style is None and count == 1 and rng.random() < 0.5:
        return behind.lstrip(" ,")
    subject = rng.choice(UNNAMED) if count == 1 else f"{rng.choice(COUNTS[count])} of them"
    phrases = [phrase for phrase in STYLE_PHRASES.get(style, ("{}",)) if "{bare}" not in phrase]
    return rng.choice(phrases).format(subject) + behind


def _subject(
    scene: Scene, vocabulary: tuple[Thing, ...], rng: Random, habits: Habits, color: bool, bare: bool
) -> tuple[str, bool]:
    """The things as a phrase, and whether it states how a pair lies."""
    parts = [
        _adjectives(placed, scene.size if scene.layout == "one" else "normal", color, rng) for placed in scene.placed
    ]
    if scene.layout == "several":
        thing = vocabulary[scene.placed[0].thing]
        return " ".join((rng.choice(COUNTS[len(scene.placed)]), *parts[0], _plural(thing, rng, habits))), False
    phrases = []
    for placed, words in zip(scene.placed, parts, strict=True):
        thing = vocabulary[placed.thing]
        noun = rng.choice(thing.words) if thing.words and rng.random() < habits.synonym else thing.noun
        plural_only = noun.endswith("s") and (noun != thing.noun or noun == thing.plural) and not noun.endswith("ss")
        phrases.append(" ".join((*words, noun)) if bare or plural_only else with_article(" ".join((*words, noun))))
    if scene.layout == "one":
        return phrases[0], False
    ordered = rng.random() < habits.relation
    pattern = rng.choice(RELATION_PHRASES[scene.relation] if ordered else UNORDERED)
    return pattern.format(a=phrases[0], b=phrases[1]), ordered


def _plural(thing: Thing, rng: Random, habits: Habits) -> str:
    if thing.words and rng.random() < habits.synonym:
        word = rng.choice(thing.words)
        return word if word.endswith("s") else regular_plural(word)
    return thing.plural


def _adjectives(placed: Placed, size: str, color: bool, rng: Random) -> list[str]:
    words = [rng.choice(SIZE_WORDS[size])] if size in SIZE_WORDS else []
    return words + ([rng.choice(WORDS[placed.color])] if color and placed.color else [])


def _backdrop(name: str, bare: bool, rng: Random) -> str:
    if name in backdrops.SCENES:
        return f" {rng.choice(backdrops.SCENE_PHRASES[name])}"
    word = "grey" if name == "gray" and rng.random() < 0.5 else name
    if bare:
        return f", {word} background"
    return rng.choice(
        (" on a {} background", " on a {} background", ", {} background", " on {}", " in front of a {} wall")
    ).format(word)
