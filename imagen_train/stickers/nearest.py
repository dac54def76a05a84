"""Is the render that was asked for the nearest of all that might have been? A judge that needs no training.

Each drawn picture is laid beside renders of its own scene that differ in one respect: every other thing, style, colour,
backdrop, number, place. The one that was asked for has to have the least mean squared difference. It judges a base whose
things always stand in the same place (`Mix.loose` 0), as far as it was asked for what training may show.

Shapes: b pictures, n alternatives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from imagen_core.text.loading import load_text_encoder

from ..data import drawings_folder
from ..evaluate import SamplingSettings, draw_base
from ..metrics import Figure
from . import backdrops
from .captions import Habits, write_caption
from .colors import COLORS
from .evaluate import ASKED, MIX, Asked, share, write_sheet
from .judge import TEST_SEED
from .pictures import Library, open_library, paint
from .redraw import ENCODER
from .scene import STYLES, Scene, SceneSampler, placed_in_rows

UNSIZED = dataclasses.replace(MIX, sized=0.0, gradient=0.0)
RENAMED = dataclasses.replace(ASKED, synonym=1.0)


def asked_scenes(library: Library, count: int, seed: int, *, tier: int, held_out: bool = False) -> Asked:
    """`count` captions of training's things: one, several or two; held_out: in colours that training never shows on them."""
    sampler = SceneSampler(library.vocabulary, library.available(tier), UNSIZED, held_out=held_out)
    rng = Random(f"nearest {seed} {held_out}")
    sampler.things = [i for i in sampler.things if i not in sampler.held.things]
    return _asked(sampler, count, rng, library, ASKED)


def renamed_scenes(library: Library, count: int, seed: int, *, tier: int) -> Asked:
    """`count` captions of one thing each, by another word for it: "puppy", "automobile"."""
    mix = dataclasses.replace(UNSIZED, several=0.0, pair=0.0)
    sampler = SceneSampler(library.vocabulary, library.available(tier), mix)
    sampler.things = [i for i in sampler.things if library.vocabulary[i].words]
    return _asked(sampler, count, Random(f"renamed {seed}"), library, RENAMED)


def asked_sets(library: Library, count: int, tier: int) -> dict[str, Asked]:
    """What a base is judged by: in training's colours, in colours never shown, and (half as many) by another word."""
    return {
        "shown": asked_scenes(library, count, TEST_SEED, tier=tier),
        "unseen": asked_scenes(library, count, TEST_SEED, tier=tier, held_out=True),
        "renamed": renamed_scenes(library, max(1, count // 2), TEST_SEED, tier=tier),
    }


def _asked(sampler: SceneSampler, count: int, rng: Random, library: Library, habits: Habits) -> Asked:
    order = rng.sample(sampler.things, len(sampler.things))
    scenes = [sampler.sample(rng, first=order[i % len(order)]) for i in range(count)]
    return Asked([write_caption(scene, library.vocabulary, rng, habits) for scene in scenes], scenes)


def _placed(scene: Scene, which: tuple[int, ...], **changes: object) -> Scene:
    """The scene with these of its things changed."""
    things = tuple(dataclasses.replace(each, **changes) if i in which else each for i, each in enumerate(scene.placed))
    return dataclasses.replace(scene, placed=things)


def _all_alike(scene: Scene) -> tuple[int, ...]:
    return tuple(range(len(scene.placed)))


def other_things(scene: Scene, things: list[int], which: tuple[int, ...] | None = None) -> Iterator[Scene]:
    """Every other thing in the place of the scene's first (of all, where they are alike)."""
    which = _all_alike(scene) if which is None else which
    return (_placed(scene, which, thing=thing) for thing in things if thing != scene.placed[which[0]].thing)


def other_colors(scene: Scene, which: tuple[int, ...] | None = None) -> Iterator[Scene]:
    """Every other colour, and the things' own."""
    which = _all_alike(scene) if which is None else which
    return (_placed(scene, which, color=color) for color in (None, *COLORS) if color != scene.placed[which[0]].color)


def other_styles(scene: Scene) -> Iterator[Scene]:
    return (dataclasses.replace(scene, style=style) for style in STYLES if style != scene.style)


def other_backdrops(scene: Scene) -> Iterator[Scene]:
    return (dataclasses.replace(scene, backdrop=name) for name in backdrops.NAMES if name != scene.backdrop)


def other_counts(scene: Scene) -> Iterator[Scene]:
    """The same things in every other number, in each of the ways that they are laid out; one alone is large."""
    yield dataclasses.replace(scene, placed=(dataclasses.replace(scene.placed[0], x=0.5, y=0.5, size=0.79),))
    for rows in ((2,), (3,), (1, 2), (2, 2), (2, 3)):
        if sum(rows) != len(scene.placed):
            yield dataclasses.replace(scene, placed=placed_in_rows(scene.placed[0], rows))


def other_relations(scene: Scene) -> Iterator[Scene]:
    """The same two things in the other places."""
    first, second = scene.placed
    for (ax, ay), (bx, by) in (((0.26, 0.5), (0.74, 0.5)), ((0.5, 0.26), (0.5, 0.74))):
        for one, other in ((first, second), (second, first)):
            placed = (dataclasses.replace(one, x=ax, y=ay), dataclasses.replace(other, x=bx, y=by))
            if (placed[0].thing, placed[0].x) != (scene.placed[0].thing, scene.placed[0].x):
                yield dataclasses.replace(scene, placed=placed)


def rank(picture: Tensor, scene: Scene, others: Iterator[Scene], library: Library) -> int:
    """How many of the others' renders are nearer to the picture (3 h w) than the scene's own; 0 is right."""
    return _ranks(picture[None], scene, others, library)[0]


def ranks_of_each(
    sets: Sequence[Tensor], scenes: Sequence[Scene], library: Library, things: list[int]
) -> list[list[int]]:
    """Of each picture of several sets (b 3 h w) that the same scenes asked for, how many other things are nearer."""
    found = [
        _ranks(torch.stack([pictures[i] for pictures in sets]), scene, other_things(scene, things), library)
        for i, scene in enumerate(scenes)
    ]
    return [list(places) for places in zip(*found, strict=True)] if found else [[] for _ in sets]


def _ranks(pictures: Tensor, scene: Scene, others: Iterator[Scene], library: Library) -> list[int]:
    """`rank` of several pictures (b 3 h w) of one scene, whose alternatives are rendered once."""

    def distance(each: Scene) -> Tensor:
        render = torch.from_numpy(paint(each, library)).permute(2, 0, 1).float() / 127.5 - 1
        return (pictures - render).square().mean((1, 2, 3))

    own, nearer = distance(scene), torch.zeros(len(pictures), dtype=torch.long)
    for each in others:
        nearer += distance(each) < own
    return nearer.tolist()


def _aspects(scene: Scene, things: list[int]) -> dict[str, Callable[[], Iterator[Scene]]]:
    """What is asked of a scene's picture, each with its alternatives."""
    aspects = {"style": lambda: other_styles(scene), "backdrop": lambda: other_backdrops(scene)}
    if scene.layout == "pair":
        return aspects | {"relation": lambda: other_relations(scene)}
    if scene.layout == "several":
        aspects["count"] = lambda: other_counts(scene)
    if scene.placed[0].color is not None:
        aspects["color"] = lambda: other_colors(scene)
    return aspects | {"thing": lambda: other_things(scene, things)}


def _bound(picture: Tensor, scene: Scene, things: list[int], library: Library) -> bool:
    """Whether both things of a pair, and their colours, are nearest where they were asked for."""
    for which in ((0,), (1,)):
        if rank(picture, scene, other_colors(scene, which), library):
            return False
        if rank(picture, scene, other_things(scene, things, which), library):
            return False
    return True


def judged(pictures: Tensor, wanted: Asked, library: Library, things: list[int]) -> dict[str, Figure]:
    """thing (top 1, top 5, and top 1 of each style), color, style, backdrop, count, relation, bound: each a share.

    pictures (b 3 h w) in [-1, 1]; things: which ones a thing is told from.
    """
    found: dict[str, list[bool]] = {}

    def note(name: str, right: bool) -> None:
        found.setdefault(name, []).append(right)

    for picture, scene in zip(pictures, wanted.scenes, strict=True):
        for name, others in _aspects(scene, things).items():
            place = rank(picture, scene, others(), library)
            note(name, place == 0)
            if name == "thing":
                note("thing_top_5", place < 5)
                note(f"thing_{scene.style}", place == 0)
        if scene.layout == "pair":
            note("bound", _bound(picture, scene, things, library))
    return {name: share(right) for name, right in sorted(found.items())}


def judged_each(
    sets: Sequence[Tensor], scenes: Sequence[Scene], library: Library, things: list[int]
) -> list[dict[str, Figure]]:
    """thing, color, style, backdrop, count, each a share, of several sets of pictures (b 3 h w) of the same scenes.

    None of the scenes is a pair. What might have been asked for is rendered once for all sets.
    """
    notes: list[dict[str, list[bool]]] = [{} for _ in sets]
    for i, scene in enumerate(scenes):
        pictures = torch.stack([each[i] for each in sets])
        for name, others in _aspects(scene, things).items():
            for note, place in zip(notes, _ranks(pictures, scene, others(), library), strict=True):
                note.setdefault(name, []).append(place == 0)
    return [{name: share(right) for name, right in sorted(note.items())} for note in notes]


def evaluate_nearest(
    base: Path,
    models_dir: Path,
    *,
    count: int = 512,
    tier: int = 1,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """What a base draws of `count` captions in training's colours, of as many in colours never shown ("unseen"), and of
    half as many that call the thing by another word ("renamed").

    pictures_out: a PNG of the first 64, captions beside it.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device, expected_stage="base64")
    settings, library = settings.of(stage), open_library(drawings_folder())
    encoder = load_text_encoder(models_dir / ENCODER, device=device)
    things = library.available(tier)
    figures: dict[str, object] = {"things": len(things)}
    for name, wanted in asked_sets(library, count, tier).items():
        drawn = draw_base(stage, encoder, wanted.texts, settings)
        figures[name] = judged(drawn, wanted, library, things)
        if name == "shown" and pictures_out is not None:
            write_sheet(pictures_out, drawn[:64], wanted.texts[:64])
    return figures | {"count": count, "settings": dataclasses.asdict(settings), "training": stage.spec.training}
