"""Does dynamic thresholding save pictures at high guidance? Against static and none (Imagen, section 2.3).

The shipped base draws the same captions from the same seeds, on white and on full backdrops (colours and scenes). The
judge is the distance to renders (imagen_train/stickers/nearest.py); saturation and clipped values have the renders' beside.

python -m benchmarks.claims thresholding
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import ClassVar

import torch
from torch import Tensor

from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.sampling import sample_base
from imagen_core.stage import Prompt, Stage, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.thresholding import THRESHOLDINGS
from imagen_train.data import drawings_folder
from imagen_train.options import default_models_dir
from imagen_train.stickers.captions import write_caption
from imagen_train.stickers.evaluate import ASKED, Asked, rendered
from imagen_train.stickers.nearest import ranks_of_each
from imagen_train.stickers.pictures import Library, open_library
from imagen_train.stickers.scene import Mix, SceneSampler

from ._base import Claim, Row, each_seed, grouped, markdown, mean
from ._plot import Panel, panels_svg

WAYS = ("none", "static", "dynamic")
SCALES = (1.5, 3.0, 5.0, 7.0, 10.0)
ALONE = Mix(
    styles=("3d",),
    **{"several": 0.0, "pair": 0.0, "recolored": 0.35, "gradient": 0.0, "sized": 0.0, "flipped": 0.0, "loose": 0.0},
)
BACKDROPS = {
    "white": dataclasses.replace(ALONE, white=1.0),
    "full": dataclasses.replace(ALONE, white=0.0, scenery=0.5),
}
EDGE = 0.995  # of |x|: one of 255 levels from the end of the range


def asked_on(library: Library, backdrop: str, count: int, seed: int) -> Asked:
    """`count` captions of one thing each, on white or on full backdrops; the same ones every time for a seed."""
    sampler, rng = (
        SceneSampler(library.vocabulary, library.available(1), BACKDROPS[backdrop]),
        Random(f"claims {backdrop} {seed}"),
    )
    firsts = rng.sample(sampler.things, count)
    scenes = [sampler.sample(rng, first=first) for first in firsts]
    return Asked([write_caption(scene, library.vocabulary, rng, ASKED) for scene in scenes], scenes)


def saturation(pictures: Tensor) -> float:
    """Mean over pixels of how far the strongest channel is from the weakest, in [0, 1]: (b 3 h w) in [-1, 1]."""
    return ((pictures.amax(1) - pictures.amin(1)) / 2).mean().item()


def clipped(pictures: Tensor) -> float:
    """Share of values at an end of the range."""
    return (pictures.abs() >= EDGE).float().mean().item()


class Thresholding(Claim):
    name: ClassVar[str] = "thresholding"
    about: ClassVar[str] = "dynamic over static over no thresholding at high guidance"
    key: ClassVar[tuple[str, ...]] = ("backdrop", "scale", "way", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--base",
            type=Path,
            default=default_models_dir() / "things64.safetensors",
            help="the base (default: shipped)",
        )
        add("--count", type=int, default=48, help="pictures of each row (default: %(default)s)")
        add("--steps", type=int, default=20, help="calls a picture (default: %(default)s)")
        add("--scales", type=float, nargs="+", default=list(SCALES), help="guidance scales (default: 1.5 to 10)")
        add("--seeds", type=int, nargs="+", default=[0, 1], help="each is other captions and noise (default: 0 1)")

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        stage, library = load_stage(options.base), open_library(drawings_folder())
        encoder = load_text_encoder(default_models_dir() / "things_text_encoder")
        for backdrop, seed in product(BACKDROPS, options.seeds):
            here = {"backdrop": backdrop, "seed": seed}
            ways = product(options.scales, WAYS)
            missing = [each for each in ways if not self.is_done(done, scale=each[0], way=each[1], **here)]
            if not missing:
                continue
            asked = asked_on(library, backdrop, options.count, seed)
            prompt = Prompt(text=encoder.encode(asked.texts))
            drawn = [drawn_at(stage, prompt, scale, way, options.steps, seed) for scale, way in missing]
            renders = rendered(library, asked)
            ranks = ranks_of_each(drawn, asked.scenes, library, library.available(2))
            for (scale, way), pictures, places in zip(missing, drawn, ranks, strict=True):
                yield here | {"scale": scale, "way": way} | figures(pictures, renders, places)

    def table(self, rows: Sequence[Row]) -> str:
        columns = (
            "backdrop",
            "guidance",
            "thresholding",
            "right thing",
            "error",
            "saturation",
            "clipped",
            "backdrop off by",
        )
        lines = [
            (
                backdrop,
                f"{scale:g}",
                way,
                each_seed(some, "thing", 2),
                each_seed(some, "error", 3),
                f"{each_seed(some, 'saturation', 3)} ({each_seed(some, 'saturation_render', 3)})",
                f"{each_seed(some, 'clipped', 3)} ({each_seed(some, 'clipped_render', 3)})",
                each_seed(some, "corner", 3),
            )
            for (backdrop, scale, way), some in grouped(rows, "backdrop", "scale", "way").items()
        ]
        return markdown(columns, lines)

    def plot(self, rows: Sequence[Row]) -> str:
        panels = []
        for (backdrop,), some in grouped(rows, "backdrop").items():
            lines = {way: over_scales(each, "error") for (way,), each in grouped(some, "way").items()}
            panels.append(Panel(up=f"error, {backdrop} backdrops", across="guidance scale", lines=lines))
        for (backdrop,), some in grouped(rows, "backdrop").items():
            lines = {way: over_scales(each, "saturation") for (way,), each in grouped(some, "way").items()}
            level = {"the renders": mean(some, "saturation_render")}
            panels.append(Panel(up=f"saturation, {backdrop}", across="guidance scale", lines=lines, dotted=level))
        return panels_svg(panels)


def over_scales(rows: Sequence[Row], figure: str) -> list[tuple[float, float]]:
    """A figure's mean over the seeds, at each guidance scale."""
    return [(scale, mean(some, figure)) for (scale,), some in grouped(rows, "scale").items()]


def drawn_at(stage: Stage, prompt: Prompt, scale: float, way: str, steps: int, seed: int) -> Tensor:
    """(b 3 64 64) in [-1, 1], picture i from noise 1000 * seed + i."""
    draw = Draw(
        seeds=range(1000 * seed, 1000 * seed + len(prompt.text.mask)),
        steps=steps,
        guidance=ClassifierFreeGuidance(scale=scale),
        thresholding=THRESHOLDINGS[way](),
    )
    return sample_base(stage, prompt, draw).clamp(-1, 1).cpu()


def figures(pictures: Tensor, renders: Tensor, places: Sequence[int]) -> dict[str, float]:
    """error: RMS to the render that was asked for; corner: mean |difference| of the corners, 6 px a side: the backdrop."""
    corners = (pictures - renders).abs()
    corners = torch.cat(
        [corners[..., :6, :6], corners[..., :6, -6:], corners[..., -6:, :6], corners[..., -6:, -6:]], -1
    )
    found = {
        "thing": sum(place == 0 for place in places) / len(places),
        "error": (pictures - renders).square().mean((1, 2, 3)).sqrt().mean().item(),
        "saturation": saturation(pictures),
        "saturation_render": saturation(renders),
        "clipped": clipped(pictures),
        "clipped_render": clipped(renders),
        "corner": corners.mean().item(),
    }
    return {name: round(value, 4) for name, value in found.items()} | {"count": len(places)}
