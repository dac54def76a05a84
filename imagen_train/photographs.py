"""Does super-resolution leave real photographs at least as good as bicubic does? (Those inside scikit-image.)

Shapes: c h w a picture; the low-res one has sides h/4, w/4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.stage import load_stage

from .classifier import FILE as CLASSIFIER_FILE
from .classifier import load_classifier
from .evaluate import SamplingSettings, enlarged_figures, sr_summary

# Photographs that come inside scikit-image's wheel: nothing is downloaded.
NAMES = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "moon", "rocket")
NAMES += ("retina", "brick", "grass", "gravel")
LONGEST = 1024


def photograph(name: str) -> Tensor:
    """One of NAMES as (3 h w) in [-1, 1], cropped in the middle to sides that are multiples of 4 and at most 1024.

    ModuleNotFoundError without scikit-image.
    """
    from skimage import data

    pixels = np.asarray(getattr(data, name)())
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    h, w = (min(LONGEST, side // 4 * 4) for side in pixels.shape[:2])
    y, x = (pixels.shape[0] - h) // 2, (pixels.shape[1] - w) // 2
    return torch.from_numpy(pixels[y : y + h, x : x + w].copy()).permute(2, 0, 1).float() / 127.5 - 1


def evaluate_photographs(
    sr: Path, models_dir: Path, *, names: tuple[str, ...] = NAMES, device: str = "cpu"
) -> dict[str, object]:
    """Photographs shrunk four times by area and enlarged by an sr1024 checkpoint, beside bicubic and Lanczos.

    At aug_level 0 and at the checkpoint's own: {"0.0": figures, ...}, each with every photograph's decibels. "reached":
    PSNR or feature distance no worse than bicubic's in the mean, at the checkpoint's own level. Without scikit-image:
    {"missing": what to install}.
    """
    try:
        pictures = {name: photograph(name) for name in names}
    except ModuleNotFoundError:
        return {"missing": "pip install scikit-image brings the photographs", "reached": None}
    stage, classifier = load_stage(sr, device=device), load_classifier(models_dir / CLASSIFIER_FILE)
    own = SamplingSettings().of(stage)
    table: dict[str, object] = {}
    for level in dict.fromkeys((0.0, own.aug_level)):
        settings = SamplingSettings(aug_level=level).of(stage)
        rows = [
            enlarged_figures(stage, classifier, picture[None], settings, [0])
            for picture in tqdm(pictures.values(), desc=f"photographs {level}", disable=None)
        ]
        each = {key: torch.cat([row[key] for row in rows]) for key in rows[0]}
        decibels = {
            name: {rival: round(row[f"psnr_{rival}"].item(), 2) for rival in ("network", "bicubic", "lanczos")}
            for name, row in zip(pictures, rows, strict=True)
        }
        table[str(level)] = {**sr_summary(each), "each_psnr": decibels}
    final = table[str(own.aug_level)]
    no_worse = (
        final["psnr_network"]["mean"] >= final["psnr_bicubic"]["mean"]
        or final["feature_distance_network"]["mean"] <= final["feature_distance_bicubic"]["mean"]
    )
    return {**table, "asked": "PSNR or feature distance no worse than bicubic's", "reached": no_worse}
