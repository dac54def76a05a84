"""Does an image prompt draw what its reference shows, beside words, and two of them each in its own half?

The pictures are composed of drawings, and the judge is the nearest of all renders that might have been asked for
(`stickers.nearest`). Two references are told apart by masks: each half of a picture is cropped, and laid beside crops of
every thing's render, whether it stands in that half or large in the middle. The ceiling are renders, chance is a picture
judged by what it was not shown.

Shapes: b pictures, h w pixels, p places.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from imagen_core import Control

from .decoding import MIX, Decoder, alone, reference_of, scenes_of, shown
from .evaluate import SamplingSettings
from .metrics import Figure
from .sheets import grid, write_picture
from .stickers.captions import unnamed_caption
from .stickers.colors import COLORS
from .stickers.evaluate import share
from .stickers.judge import TEST_SEED
from .stickers.nearest import other_counts, rank
from .stickers.pictures import Library
from .stickers.scene import Placed, Scene

NUMBERED = dataclasses.replace(MIX, several=0.4)  # words say how many there are: often enough to be judged
PAIRS = dataclasses.replace(MIX, several=0.0, pair=1.0)
# Where a half's thing may stand, as x, y, size: in its half as of a pair, or in the middle, of which the half is one.
MIDDLE = (0.5, 0.5, 0.79)
PLACES = (((0.26, 0.5, 0.45), MIDDLE), ((0.74, 0.5, 0.45), MIDDLE))
SHOWN = 8  # columns of a sheet


def without_words(decoder: Decoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """The scene's own picture as the reference, and an empty text."""
    drawn = decoder.drawn(decoder.seen(scenes))
    return {
        "reference": drawn,
        "no_reference": decoder.drawn(None, [""] * len(scenes)),
        "another_scenes": drawn.roll(1, 0),
        "renders": decoder.seen(scenes),
    }


def beside_words(decoder: Decoder, scenes: list[Scene], weights: Sequence[float]) -> dict[str, Tensor]:
    """A reference of the same thing and colour in another style before another backdrop; words say all but the thing."""
    rng = Random(f"words {TEST_SEED}")
    references = decoder.seen([reference_of(scene, rng) for scene in scenes])
    texts = [unnamed_caption(scene.style, len(scene.placed), scene.backdrop, rng) for scene in scenes]
    return {
        **{f"weight_{w:g}": decoder.drawn(references, texts, strength=w) for w in weights},
        "words_alone": decoder.drawn(None, texts),
        "another_scenes_reference": decoder.drawn(references.roll(1, 0), texts),
        "renders": decoder.seen(scenes),
    }


def numbers(sets: dict[str, Tensor], scenes: list[Scene], library: Library) -> dict[str, Figure]:
    """Of pictures (b 3 h w), by name, how often there are as many things, laid out as the scenes have them."""

    def right(picture: Tensor, scene: Scene) -> bool:
        return rank(picture, scene, other_counts(scene), library) == 0

    return {
        name: share([right(*each) for each in zip(pictures, scenes, strict=True)]) for name, pictures in sets.items()
    }


def half(pictures: Tensor, which: int) -> Tensor:
    """The left (0) or right (1) half of pictures (... h w)."""
    width = pictures.shape[-1] // 2
    return pictures[..., :width] if which == 0 else pictures[..., width:]


def half_mask(side: int, which: int) -> Tensor:
    """(1 1 side side), 1 in a half."""
    mask = torch.zeros(1, 1, side, side)
    half(mask, which).fill_(1.0)
    return mask


def two_drawn(decoder: Decoder, scenes: list[Scene], texts: list[str]) -> Tensor:
    """Each scene's two things as references of their own, the first on the left and the second on the right."""
    side = decoder.stage.spec.native_side
    controls = [
        Control(
            adapter=decoder.adapter,
            picture=decoder.seen([alone(scene, which) for scene in scenes]),
            mask=half_mask(side, which),
        )
        for which in (0, 1)
    ]
    return decoder.steered(controls, texts)


def by_masks(decoder: Decoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """Two references under no words and under those that say two; the ceiling, apart or as halves; and words alone."""
    rng = Random(f"two {TEST_SEED}")
    texts = [unnamed_caption(scene.style, 2, scene.backdrop, rng) for scene in scenes]
    large = [decoder.seen([alone(scene, which) for scene in scenes]) for which in (0, 1)]
    apart = [dataclasses.replace(scene, placed=_standing(scene.placed)) for scene in scenes]
    return {
        "no_words": two_drawn(decoder, scenes, [""] * len(scenes)),
        "words_say_two": two_drawn(decoder, scenes, texts),
        "words_alone": decoder.drawn(None, texts),
        "renders_apart": decoder.seen(apart),
        "renders_of_halves": torch.cat([half(large[0], 0), half(large[1], 1)], -1),
    }


def _standing(things: tuple[Placed, ...]) -> tuple[Placed, ...]:
    """A pair beside each other."""
    return tuple(_at(thing, PLACES[which][0]) for which, thing in enumerate(things))


def _at(thing: Placed, place: tuple[float, float, float]) -> Placed:
    return dataclasses.replace(thing, **dict(zip(("x", "y", "size"), place, strict=True)))


def _off(halves: Tensor, which: int, scene: Scene, thing: Placed, library: Library) -> Tensor:
    """How far halves (b 3 h w) are from those of a thing's renders, one a place: (b p)."""
    stands = (_at(thing, place) for place in PLACES[which])
    renders = torch.stack([half(shown(dataclasses.replace(scene, placed=(each,)), library), which) for each in stands])
    return (halves[:, None] - renders).square().mean((2, 3, 4))


def _others(thing: Placed, things: Sequence[int]) -> dict[str, Iterator[Placed]]:
    """What else a half might show: every other thing, and where its colour is not its own every other colour."""
    found = {"thing": (dataclasses.replace(thing, thing=each) for each in things if each != thing.thing)}
    if thing.color is not None:
        colors = (each for each in (None, *COLORS) if each != thing.color)
        found["color"] = (dataclasses.replace(thing, color=each) for each in colors)
    return found


def side_right(
    halves: Tensor, which: int, scene: Scene, things: Sequence[int], library: Library
) -> dict[str, list[bool]]:
    """Of halves (b 3 h w) whether thing and colour are the scene's there, by the nearest render wherever it stands."""
    own = _off(halves, which, scene, scene.placed[which], library).amin(1)
    found = {}
    for name, others in _others(scene.placed[which], things).items():
        nearest = torch.stack([_off(halves, which, scene, each, library).amin(1) for each in others]).amin(0)
        found[name] = (own <= nearest).tolist()
    return found


def sides_judged(
    sets: dict[str, Tensor], scenes: list[Scene], things: Sequence[int], library: Library
) -> dict[str, dict[str, Figure]]:
    """Of pictures (b 3 h w), by name: thing, color, both (thing and colour, where it is not the thing's own) of a side,
    and both_sides of a picture.
    """
    notes: dict[str, dict[str, list[bool]]] = {name: {} for name in sets}
    for i, scene in enumerate(scenes):
        pictures = torch.stack([each[i] for each in sets.values()])
        sides = [side_right(half(pictures, which), which, scene, things, library) for which in (0, 1)]
        for row, note in enumerate(notes.values()):
            right = [{name: values[row] for name, values in side.items()} for side in sides]
            for side in right:
                for name, value in (side | {"both": all(side.values())}).items():
                    note.setdefault(name, []).append(value)
            note.setdefault("both_sides", []).append(all(all(side.values()) for side in right))
    return {name: {key: share(values) for key, values in sorted(note.items())} for name, note in notes.items()}


def exchanged(scene: Scene) -> Scene:
    """The scene with its two things in each other's places."""
    return dataclasses.replace(scene, placed=scene.placed[::-1])


def evaluate_image_prompt(
    base: Path,
    image_prompt: Path,
    models_dir: Path,
    *,
    count: int = 128,
    pairs: int = 64,
    tier: int = 2,
    weights: Sequence[float] = (0.5, 0.8, 1.0),
    held_out: bool = False,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """Of `count` scenes without words and beside them, and of `pairs` of two things, a reference each.

    held_out: in colours that training never shows on their things. pictures_out: a PNG of the first pictures of all.
    Raises ValueError for files that do not belong together.
    """
    decoder = Decoder.of(base, image_prompt, models_dir, tier=tier, settings=settings, device=device)
    network = decoder.adapter.network
    if network.takes_hint or network.takes_key_points or not network.reads_pictures:
        raise ValueError(
            f"{image_prompt} is no image prompt that sees pictures: name what imagen train image_prompt made"
        )
    library = decoder.library
    asked = [
        scenes_of(library, number, tier, held_out=held_out, mix=mix, name=name)
        for name, number, mix in (("unclip", count, MIX), ("numbered", count, NUMBERED), ("pairs", pairs, PAIRS))
    ]
    sets = [without_words(decoder, asked[0]), beside_words(decoder, asked[1], weights), by_masks(decoder, asked[2])]
    if pictures_out is not None:
        _write(pictures_out, sets)
    counted = numbers(sets[1], asked[1], library)
    worded = {name: each | {"number": counted[name]} for name, each in decoder.judged(sets[1], asked[1]).items()}
    return {
        "without_words": decoder.judged(sets[0], asked[0]),
        "beside_words": worded,
        "two_by_masks": _two(decoder, sets[2], asked[2]),
        "weight_0_equals_none": _weight_0(decoder, asked[1][:SHOWN]),
        "asked": {"count": count, "pairs": pairs, "things": len(library.available(tier)), "held_out": held_out},
        "files": {"base": base.name, "image_prompt": image_prompt.name},
        "settings": dataclasses.asdict(decoder.settings),
    }


def _two(decoder: Decoder, sets: dict[str, Tensor], scenes: list[Scene]) -> dict[str, dict[str, Figure]]:
    """Each side by its own reference, and what was drawn by the other side's, which is chance."""
    things = decoder.library.available(decoder.tier)
    swapped = {f"{name}_exchanged": sets[name] for name in ("no_words", "words_say_two", "renders_apart")}
    return sides_judged(sets, scenes, things, decoder.library) | sides_judged(
        swapped, [exchanged(scene) for scene in scenes], things, decoder.library
    )


def _weight_0(decoder: Decoder, scenes: list[Scene]) -> Figure:
    """How often a reference of weight 0 leaves every bit of a picture as it is without one."""
    texts = [unnamed_caption(scene.style, len(scene.placed), scene.backdrop, Random(0)) for scene in scenes]
    off, none = decoder.drawn(decoder.seen(scenes), texts, strength=0.0), decoder.drawn(None, texts)
    return share([torch.equal(*pair) for pair in zip(off, none, strict=True)])


def _write(path: Path, sets: Sequence[dict[str, Tensor]]) -> None:
    """A row a set of pictures, in the order in which figures name them."""
    rows = [pictures[:SHOWN] for each in sets for pictures in each.values()]
    columns = min(map(len, rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, grid(torch.cat([row[:columns] for row in rows]), columns=columns, scale=2))
