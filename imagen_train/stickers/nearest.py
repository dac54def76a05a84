"""Is the right thing's own render the nearest of all? A judge that needs no training, for things in their usual place.

Each drawn picture is laid beside the renders of every thing of the list in the colour, on the backdrop and at the place
that were asked for; the right one has to have the least mean squared difference. Chance is one in as many as there are.

Shapes: b pictures, n things.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from random import Random

from torch import Tensor

from imagen_core.text.loading import load_text_encoder

from ..data import FIRST, drawings_folder
from ..evaluate import SamplingSettings, draw_base
from ..metrics import Figure
from .captions import write_caption
from .evaluate import ASKED, ENCODER, Asked, rendered, share, write_sheet
from .judge import TEST_SEED
from .pictures import Library, open_library
from .scene import Scene, SceneSampler

SINGLES = dataclasses.replace(FIRST, several=0.0, pair=0.0, sized=0.0, scenery=0.0, gradient=0.0)


def asked_singles(library: Library, count: int, seed: int, *, tier: int, held_out: bool = False) -> Asked:
    """`count` captions of single things; held_out: in colours that training never shows on them."""
    sampler = SceneSampler(library.vocabulary, library.available(tier), SINGLES, held_out=held_out)
    rng = Random(f"singles {seed} {held_out}")
    known = [i for i in sampler.things if i not in sampler.held.things]
    scenes = [sampler.sample(rng, first=known[i % len(known)]) for i in range(count)]
    return Asked([write_caption(scene, library.vocabulary, rng, ASKED) for scene in scenes], scenes)


def with_thing(scene: Scene, thing: int) -> Scene:
    """The same scene of another single thing."""
    return dataclasses.replace(scene, placed=(dataclasses.replace(scene.placed[0], thing=thing),))


def ranks(pictures: Tensor, wanted: Asked, library: Library, things: list[int]) -> list[int]:
    """Of each picture (b 3 h w) how many things' renders are nearer than the right one's; 0 is right."""
    found = []
    for picture, scene, caption in zip(pictures, wanted.scenes, wanted.captions, strict=True):
        scenes = [with_thing(scene, thing) for thing in things]
        renders = rendered(library, Asked([caption] * len(things), scenes))  # n 3 h w
        distance = (renders - picture).square().mean((1, 2, 3))
        found.append(int((distance < distance[things.index(scene.placed[0].thing)]).sum()))
    return found


def _figures(found: list[int]) -> dict[str, Figure]:
    return {"top_1": share([rank < 1 for rank in found]), "top_5": share([rank < 5 for rank in found])}


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
    """What a base draws of `count` single things in training's colours, and of as many in colours never shown ("unseen").

    "own": of the first, those in the thing's own colour. pictures_out: a PNG of the first 64, captions beside it.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device, expected_stage="base64")
    settings, library = settings.of(stage), open_library(drawings_folder())
    encoder = load_text_encoder(models_dir / ENCODER, device=device)
    figures: dict[str, object] = {}
    for name, held_out in (("shown", False), ("unseen", True)):
        wanted = asked_singles(library, count, TEST_SEED, tier=tier, held_out=held_out)
        things = sorted({scene.placed[0].thing for scene in wanted.scenes})
        drawn = draw_base(stage, encoder, wanted.texts, settings)
        found = ranks(drawn, wanted, library, things)
        figures[name] = _figures(found) | {"things": len(things)}
        if not held_out:
            own = [rank for rank, scene in zip(found, wanted.scenes, strict=True) if scene.placed[0].color is None]
            figures["own"] = _figures(own)
            if pictures_out is not None:
                write_sheet(pictures_out, drawn[:64], wanted.texts[:64])
    return figures | {"count": count, "settings": dataclasses.asdict(settings), "training": stage.spec.training}
