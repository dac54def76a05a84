"""Does dynamic thresholding save pictures at high guidance? Against static and none (Imagen, section 2.3).

The shipped base draws the same captions from the same seeds, on white and on full backdrops (colours and scenes). The
judge is the distance to renders (imagen_train/stickers/nearest.py); saturation and clipped values have the renders' beside.

python -m benchmarks.claims thresholding
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
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

from ._base import Claim, Row, grouped, markdown
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


def asked_on(library: Library, backdrop: str, count: int) -> Asked:
    """`count` captions of one thing each, on white or on full backdrops; the same ones every time."""
    sampler, rng = (
        SceneSampler(library.vocabulary, library.available(1), BACKDROPS[backdrop]),
        Random(f"claims {backdrop}"),
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
    key: ClassVar[tuple[str, ...]] = ("backdrop", "scale", "way")

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

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        stage, library = load_stage(options.base), open_library(drawings_folder())
        encoder = load_text_encoder(default_models_dir() / "things_text_encoder")
        for backdrop in BACKDROPS:
            missing = [
                (scale, way)
                for scale in options.scales
                for way in WAYS
                if not self.is_done(done, backdrop=backdrop, scale=scale, way=way)
            ]
            if not missing:
                continue
            asked = asked_on(library, backdrop, options.count)
            prompt = Prompt(text=encoder.encode(asked.texts))
            drawn = [drawn_at(stage, prompt, scale, way, options.steps) for scale, way in missing]
            renders = rendered(library, asked)
            ranks = ranks_of_each(drawn, asked.scenes, library, library.available(2))
            for (scale, way), pictures, places in zip(missing, drawn, ranks, strict=True):
                yield {"backdrop": backdrop, "scale": scale, "way": way} | figures(pictures, renders, places)

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
                row["backdrop"],
                f"{row['scale']:g}",
                row["way"],
                f"{row['thing']:.2f}",
                f"{row['error']:.3f}",
                f"{row['saturation']:.3f} ({row['saturation_render']:.3f})",
                f"{row['clipped']:.3f} ({row['clipped_render']:.3f})",
                f"{row['corner']:.3f}",
            )
            for row in rows
        ]
        return markdown(columns, lines)

    def plot(self, rows: Sequence[Row]) -> str:
        panels = []
        for (backdrop,), some in grouped(rows, "backdrop").items():
            lines = {
                way: [(row["scale"], row["error"]) for row in each] for (way,), each in grouped(some, "way").items()
            }
            panels.append(Panel(up=f"error, {backdrop} backdrops", across="guidance scale", lines=lines))
        for (backdrop,), some in grouped(rows, "backdrop").items():
            lines = {
                way: [(row["scale"], row["saturation"]) for row in each]
                for (way,), each in grouped(some, "way").items()
            }
            level = {"the renders": some[0]["saturation_render"]}
            panels.append(Panel(up=f"saturation, {backdrop}", across="guidance scale", lines=lines, dotted=level))
        return panels_svg(panels)


def drawn_at(stage: Stage, prompt: Prompt, scale: float, way: str, steps: int) -> Tensor:
    """(b 3 64 64) in [-1, 1], picture i from seed i."""
    draw = Draw(
        seeds=range(len(prompt.text.mask)),
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
