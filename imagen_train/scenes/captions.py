"""How does a plain sentence state a scene, what does it leave out, and what does it say in canonical form?"""

from random import Random
from typing import NamedTuple

from .scene import Scene, Thing
from .vocabulary import (
    BACKDROP_PHRASES,
    BACKDROPS,
    BESIDE_WORDS,
    COLOR_WORDS,
    COLORS,
    COUNT_WORDS,
    MATERIAL_WORDS,
    MATERIALS,
    OPENINGS,
    RELATION_WORDS,
    SHAPE_WORDS,
    SHAPES,
    SIGN_PHRASES,
    SIZE_WORDS,
    SIZES,
    TIME_PHRASES,
    article,
    plural,
)

MEDIUM, MATTE = SIZES.index("medium"), MATERIALS.index("matte")
ADJECTIVE_ORDERS = ("scm",) * 6 + ("smc",) * 3 + ("msc", "csm")  # s size, c color, m material


class Caption(NamedTuple):
    """A sentence, its canonical parse, and the labels that it states."""

    text: str
    parse: str
    stated: frozenset[str]


class Stated(NamedTuple):
    """What a caption says about one thing: None is left out."""

    shape: str
    color: str | None
    material: str | None
    size: str | None


def write_caption(scene: Scene, rng: Random) -> Caption:
    """A random sentence for the scene, as a newcomer would write it.

    A color is left out now and then, a backdrop one time in four, a medium size and a matte surface mostly. Whatever is
    left out is missing from the parse and from `stated` too.
    """
    things = [_state(thing, scene, rng) for thing in scene.things]
    backdrop = BACKDROPS[scene.backdrop] if rng.random() < 0.75 else None
    bare = rng.random() < 0.04  # "red sphere on blue background"
    layout, text = _CLAUSES[scene.layout_name](scene, things, bare, rng)
    if backdrop:
        text = _join_backdrop(text, backdrop, bare, rng)
    parse = _parse(layout, things, scene.word, backdrop)
    return Caption(_finish(text, bare, rng), parse, _stated(layout, things, backdrop))


def _state(thing: Thing, scene: Scene, rng: Random) -> Stated:
    shape = SHAPES[thing.shape]
    if shape == "sign":
        return Stated(shape, COLORS[thing.color] if rng.random() < 0.75 else None, None, None)
    only_color_differs = (
        len(scene.things) > 1
        and scene.layout_name not in COUNT_WORDS
        and (len({other.shape for other in scene.things}) < len(scene.things))
    )
    says_color = only_color_differs or rng.random() < 0.96
    says_material = rng.random() < (0.45 if thing.material == MATTE else 0.96)
    says_size = rng.random() < (0.12 if thing.size == MEDIUM else 0.97)
    return Stated(
        shape,
        COLORS[thing.color] if says_color else None,
        MATERIALS[thing.material] if says_material else None,
        SIZES[thing.size] if says_size else None,
    )


def _phrase(stated: Stated, bare: bool, rng: Random) -> str:
    """The thing with its article: "a large red matte sphere"."""
    words = _bare_phrase(stated, _choose(SHAPE_WORDS[stated.shape], rng), rng)
    if bare:
        return words
    return f"the {words}" if rng.random() < 0.03 else f"{article(words)} {words}"


def _bare_phrase(stated: Stated, noun: str, rng: Random) -> str:
    words = []
    for kind in _choose(ADJECTIVE_ORDERS, rng):
        if kind == "s" and stated.size:
            words.append(_choose(SIZE_WORDS[stated.size], rng))
        elif kind == "c" and stated.color:
            words.append(_choose(COLOR_WORDS[stated.color], rng))
        elif kind == "m" and stated.material:
            words.append(_choose(MATERIAL_WORDS[stated.material], rng))
    return " ".join([*words, noun])


def _one(scene: Scene, things: list[Stated], bare: bool, rng: Random) -> tuple[str, str]:
    phrase = _phrase(things[0], bare, rng)
    if not bare and rng.random() < 0.06:
        phrase = f"{'one' if rng.random() < 0.7 else '1'} {phrase.split(' ', 1)[1]}"
    return "one", phrase


def _many(scene: Scene, things: list[Stated], bare: bool, rng: Random) -> tuple[str, str]:
    del things[1:]  # alike: said once
    noun = plural(_choose(SHAPE_WORDS[things[0].shape], rng))
    return scene.layout_name, f"{_choose(COUNT_WORDS[scene.layout_name], rng)} {_bare_phrase(things[0], noun, rng)}"


def _pair(scene: Scene, things: list[Stated], bare: bool, rng: Random) -> tuple[str, str]:
    relation, (first, second) = scene.layout_name, (_phrase(thing, bare, rng) for thing in things)
    draw = rng.random() if relation in ("left", "right") else 1.0
    if draw < 0.10:
        return "beside", f"{first} {_choose(BESIDE_WORDS, rng)} {second}"
    if draw < 0.30:
        other, joint = "right" if relation == "left" else "left", "," if rng.random() < 0.5 else " and"
        if rng.random() < 0.2:
            return relation, f"on the {relation} {first}{joint} on the {other} {second}"
        return relation, f"{first} on the {relation}{joint} {second} on the {other}"
    return relation, f"{first} {_choose(RELATION_WORDS[relation], rng)} {second}"


def _trio(scene: Scene, things: list[Stated], bare: bool, rng: Random) -> tuple[str, str]:
    first, second, third = (_phrase(thing, bare, rng) for thing in things)
    joints = ((", ", " and "), (", ", ", and "), (" and ", " and "))[min(int(rng.random() * 5), 2)]
    text = first + joints[0] + second + joints[1] + third
    return "trio", text + (" from left to right" if rng.random() < 0.1 else "")


def _sign(scene: Scene, things: list[Stated], bare: bool, rng: Random) -> tuple[str, str]:
    word = f'"{scene.word}"' if rng.random() < 0.93 else str(scene.word)
    return "sign", _choose(SIGN_PHRASES, rng).format(sign=_phrase(things[0], bare, rng), word=word)


_CLAUSES = {
    "one": _one,
    "two": _many,
    "three": _many,
    "left": _pair,
    "right": _pair,
    "above": _pair,
    "below": _pair,
    "trio": _trio,
    "sign": _sign,
}


def _join_backdrop(text: str, backdrop: str, bare: bool, rng: Random) -> str:
    if backdrop in TIME_PHRASES:
        place = _choose(TIME_PHRASES[backdrop], rng)
    else:
        color = _choose(COLOR_WORDS[backdrop], rng)
        place = _choose(BACKDROP_PHRASES, rng).format(a="" if bare else article(color), color=color).replace("  ", " ")
    return f"{place}, {text}" if rng.random() < 0.04 else f"{text} {place}"


def _finish(text: str, bare: bool, rng: Random) -> str:
    if not bare and text.startswith(("a ", "an ")) and rng.random() < 0.1:
        text = f"{_choose(OPENINGS, rng)} {text}"
    if rng.random() < 0.25:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.2 else text


def _parse(layout: str, things: list[Stated], word: str | None, backdrop: str | None) -> str:
    parts = [layout]
    for name, thing in zip("abc", things, strict=False):
        parts.append(" ".join(filter(None, (name, thing.size, thing.color, thing.shape, thing.material))))
    if word:
        parts.append(f"word {word}")
    if backdrop:
        parts.append(f"backdrop {backdrop}")
    return " ; ".join(parts)


def _stated(layout: str, things: list[Stated], backdrop: str | None) -> frozenset[str]:
    first = things[0]
    names = {"shape_1"}
    if layout != "beside":
        names.add("layout")
    if backdrop:
        names.add("backdrop")
    spoken = {"size": first.size, "color_1": first.color, "material_1": first.material}
    names |= {label for label, value in spoken.items() if value}
    if len(things) > 1:
        names |= {"shape_2", "color_2"} if things[1].color else {"shape_2"}
    return frozenset(names)


def _choose(options, rng: Random):
    return options[int(rng.random() * len(options))]
