"""How well is a hole filled? A network that repaints beside RePaint on its base, at equal calls of the network.

Composed pictures with a hole in the middle, which hides the thing, or on the right half; each is filled under its caption.
Shapes: b pictures, in [-1, 1]. A hole is (b 1 h w), 1 where the picture is drawn.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core import InitImage, Prompt, Stage, load_text_encoder, sample_base
from imagen_core.text.t5 import T5TextEncoder

from .data import drawings_folder
from .evaluate import SamplingSettings
from .stickers.evaluate import share, write_sheet
from .stickers.judge import TEST_SEED
from .stickers.nearest import asked_scenes, ranks_of_each
from .stickers.pictures import open_library, paint
from .stickers.redraw import ENCODER


def middle(count: int, side: int) -> Tensor:
    """(b 1 h w): a box of .56 of each side about the centre."""
    hole = torch.zeros(count, 1, side, side)
    edge = round(0.22 * side)
    hole[..., edge : side - edge, edge : side - edge] = 1.0
    return hole


def right_half(count: int, side: int) -> Tensor:
    hole = torch.zeros(count, 1, side, side)
    hole[..., side // 2 :] = 1.0
    return hole


HOLES = {"middle": middle, "right": right_half}


def seam(picture: Tensor, holes: Tensor) -> Tensor:
    """(b,): the mean difference of neighbours of which one lies in the hole and one outside."""
    total, count = torch.zeros(len(picture)), torch.zeros(len(picture))
    for axis in (-1, -2):
        across = holes.diff(dim=axis).abs()  # b 1 h w', 1 at the hole's edge
        total += (picture.diff(dim=axis).abs().mean(1, keepdim=True) * across).sum((1, 2, 3))
        count += across.sum((1, 2, 3))
    return total / count


def evaluate_inpaint(
    inpaint: Path,
    base: Path,
    models_dir: Path,
    *,
    count: int = 128,
    tier: int = 2,
    settings: SamplingSettings | None = None,
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """Figures by hole and way: "inpaint", "replace" (the base, known pixels put in), "repaint_2" and "_4" (RePaint on it).

    kept: the largest change outside the hole. seam: how much larger the differences across its edge are than in the whole
    picture, 1 is none. psnr: of the hole, in dB. thing, thing_top_5: whether the right thing's render is the nearest of
    all. calls, seconds: of a picture. pictures_out: a PNG of the first eight of each way, the whole and the masked first.
    """
    settings, library = settings or SamplingSettings(), open_library(drawings_folder())
    stages = {
        name: settings.load(path, "cpu", expected_stage="base64")
        for name, path in (("inpaint", inpaint), ("base", base))
    }
    if "known" not in stages["inpaint"].spec.inputs:
        raise ValueError(f"{inpaint} is not shown what stays of a picture: name a file of `imagen train inpaint`")
    settings = settings.of(stages["inpaint"])
    encoder = load_text_encoder(models_dir / ENCODER)
    wanted = asked_scenes(library, count, TEST_SEED, tier=tier)
    truth = (
        torch.stack([torch.from_numpy(paint(scene, library)).permute(2, 0, 1) for scene in wanted.scenes]) / 127.5 - 1
    )
    figures: dict[str, object] = {}
    for name, make in HOLES.items():
        holes = make(count, truth.shape[-1])
        drawn = {way: _filled(way, stages, encoder, wanted.texts, truth, holes, settings) for way in WAYS}
        ranks = ranks_of_each([each[0] for each in drawn.values()], wanted.scenes, library, library.available(tier))
        figures[name] = {
            way: _figures(picture, truth, holes) | _things(places) | said
            for (way, (picture, said)), places in zip(drawn.items(), ranks, strict=True)
        }
        if pictures_out is not None:
            rows = [truth, truth * (1 - holes), *(picture for picture, _ in drawn.values())]
            shown = torch.cat([row[:8] for row in rows])
            write_sheet(pictures_out.with_stem(f"{pictures_out.stem}_{name}"), shown, wanted.texts[:8] * len(rows))
    return figures | {
        "count": count,
        "settings": dataclasses.asdict(settings),
        "training": stages["inpaint"].spec.training,
    }


# Which network, and how often each stretch of the way is drawn: RePaint's rounds.
WAYS: Mapping[str, tuple[str, int]] = {
    "inpaint": ("inpaint", 1),
    "replace": ("base", 1),
    "repaint_2": ("base", 2),
    "repaint_4": ("base", 4),
}


def _filled(
    way: str,
    stages: Mapping[str, Stage],
    encoder: T5TextEncoder,
    captions: list[str],
    truth: Tensor,
    holes: Tensor,
    settings: SamplingSettings,
) -> tuple[Tensor, dict[str, float]]:
    """The pictures (b 3 h w), and what each cost. RePaint's rounds are paid for with steps."""
    name, rounds = WAYS[way]
    settings = dataclasses.replace(settings, steps=max(2, settings.steps // rounds))
    drawn, calls, began = [], [], time.perf_counter()
    for first in tqdm(range(0, len(captions), settings.batch_size), desc=way, mininterval=5.0):
        part = slice(first, first + settings.batch_size)
        texts = captions[part]
        init = InitImage(pixels=truth[part], mask=holes[part], resample=rounds)
        draw = dataclasses.replace(
            settings.draw(range(first, first + len(texts))), init=init, callback=lambda done, *_: calls.append(done)
        )
        drawn.append(sample_base(stages[name], Prompt(text=encoder.encode(texts)), draw))
    seconds = (time.perf_counter() - began) / len(captions)
    return torch.cat(drawn), {"calls": max(calls), "seconds": round(seconds, 3)}


def _figures(picture: Tensor, truth: Tensor, holes: Tensor) -> dict[str, float]:
    kept = ((picture - truth) * (1 - holes)).abs().max().item()
    there = holes.expand_as(truth)
    error = ((picture - truth) * holes).square().sum((1, 2, 3)) / there.sum((1, 2, 3))
    return {
        "kept": round(kept, 6),
        "seam": round((seam(picture, holes).mean() / seam(truth, holes).mean()).item(), 3),
        "psnr": round((10 * torch.log10(4.0 / error)).mean().item(), 2),
    }


def _things(places: list[int]) -> dict[str, object]:
    return {"thing": share([place == 0 for place in places]), "thing_top_5": share([place < 5 for place in places])}
