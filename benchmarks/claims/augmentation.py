"""Does noise conditioning augmentation make super-resolution robust? (Imagen, section 2.4.)

The shipped sr256 enlarges held-out scenes whose small pictures are clean, blurred, noisy or out of a JPEG, told each
aug_level: so much noise is added to the small picture, and the network knows how much.

python -m benchmarks.claims augmentation
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.sampling import super_resolve
from imagen_core.stage import Stage, load_stage
from imagen_train.classifier import FILE as CLASSIFIER_FILE
from imagen_train.classifier import Classifier, load_classifier
from imagen_train.data import KINDS, PictureCache, render_pictures, to_float
from imagen_train.metrics import bicubic, feature_distance, psnr
from imagen_train.options import default_models_dir, default_state_root
from imagen_train.tasks import shrink

from ._base import Claim, Row, each_seed, grouped, markdown, mean
from ._plot import Panel, panels_svg

LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3)
KIND = "full256_held_out"


def clean(small: Tensor, seed: int) -> Tensor:
    return small


def blurred(small: Tensor, seed: int) -> Tensor:
    """A Gaussian of one pixel."""
    steps = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-steps.square() / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, 7).expand(3, 1, 1, 7)
    wide = F.conv2d(F.pad(small, (3, 3, 3, 3), mode="replicate"), kernel, groups=3)
    return F.conv2d(wide, kernel.mT, groups=3)


def noisy(small: Tensor, seed: int) -> Tensor:
    """Gaussian noise of standard deviation 0.1, in a range from -1 to 1."""
    return (small + 0.1 * torch.randn(small.shape, generator=torch.Generator().manual_seed(3 + seed))).clamp(-1, 1)


def jpeg(small: Tensor, seed: int, quality: int = 30) -> Tensor:
    """Written and read as JPEG."""
    pixels = ((small + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return torch.cat([to_float(_through_jpeg(each, quality)[None]) for each in pixels])


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"]).convert("RGB"))


INPUTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "clean": clean,
    "blurred, 1 px": blurred,
    "noisy, 0.1": noisy,
    "JPEG, quality 30": jpeg,
}


class Augmentation(Claim):
    name: ClassVar[str] = "augmentation"
    about: ClassVar[str] = "noise conditioning augmentation enlarges blurred, noisy and JPEG pictures better"
    key: ClassVar[tuple[str, ...]] = ("input", "aug_level", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--sr",
            type=Path,
            default=default_models_dir() / "sr256.safetensors",
            help="what enlarges (default: shipped)",
        )
        add("--count", type=int, default=16, help="pictures a seed (default: %(default)s)")
        add("--levels", type=float, nargs="+", default=list(LEVELS), help="aug_levels (default: 0 to 0.3)")
        add("--seeds", type=int, nargs="+", default=[0, 1], help="each is other pictures and noise (default: 0 1)")

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        stage, classifier = load_stage(options.sr), load_classifier(default_models_dir() / CLASSIFIER_FILE)
        cache_dir = default_state_root() / "cache"
        render_pictures(KINDS[KIND], options.count * (1 + max(options.seeds)), cache_dir)
        for (name, spoilt), seed in product(INPUTS.items(), options.seeds):
            truth = PictureCache(cache_dir, KIND).pictures(range(options.count * seed, options.count * (seed + 1)))
            small = spoilt(shrink(truth), seed)
            for level in options.levels:
                row = {"input": name, "aug_level": level, "seed": seed}
                if not self.is_done(done, **row):
                    yield row | enlarged(stage, classifier, small, truth, level, seed)

    def table(self, rows: Sequence[Row]) -> str:
        levels = sorted({row["aug_level"] for row in rows})
        lines = []
        for (name,), some in grouped(rows, "input").items():
            by_level = {level: each for (level,), each in grouped(some, "aug_level").items()}
            for what, digits in (("psnr", 2), ("feature_distance", 3)):
                cells = [each_seed(by_level.get(level, ()), what, digits) for level in levels]
                said = {"psnr": "PSNR, dB", "feature_distance": "feature distance"}[what]
                lines.append((name, said, each_seed(by_level[levels[0]], f"{what}_bicubic", digits), *cells))
        return markdown(("small picture", "figure", "bicubic", *(f"aug_level {level:g}" for level in levels)), lines)

    def plot(self, rows: Sequence[Row]) -> str:
        def lines(what: str) -> dict[str, list[tuple[float, float]]]:
            return {
                name: [(level, mean(each, what)) for (level,), each in grouped(some, "aug_level").items()]
                for (name,), some in grouped(rows, "input").items()
            }

        panels = (("psnr", "PSNR, dB: more is better"), ("feature_distance", "feature distance: less is better"))
        return panels_svg([Panel(up=up, across="aug_level", lines=lines(what)) for what, up in panels])


@torch.inference_mode()
def enlarged(
    stage: Stage, classifier: Classifier, small: Tensor, truth: Tensor, level: float, seed: int
) -> dict[str, float]:
    """The figures of pictures (b 3 h w) enlarged at this aug_level against the truth, and bicubic's."""
    draw = Draw(
        seeds=range(1000 * seed, 1000 * seed + len(small)),
        steps=stage.spec.defaults.get("steps", 4),
        guidance=ClassifierFreeGuidance(scale=1.0),
    )
    found: dict[str, float] = {}
    for name, picture in (
        ("", super_resolve(stage, small, None, draw, factor=4, aug_level=level)),
        ("_bicubic", bicubic(small)),
    ):
        found[f"psnr{name}"] = round(psnr(picture, truth).mean().item(), 3)
        found[f"feature_distance{name}"] = round(feature_distance(classifier, picture, truth).mean().item(), 4)
    return found | {"count": len(small)}
