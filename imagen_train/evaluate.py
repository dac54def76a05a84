"""How good are the finished weights? Samples them as a user would, and measures with metrics.py.

Every function returns figures fit for JSON, with counts, standard errors and the settings. Shapes: b pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.control import Control
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.half_precision import warn_where_imitated
from imagen_core.samplers import SAMPLERS
from imagen_core.sampling import sample_base, super_resolve
from imagen_core.stage import Prompt, Stage, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .classifier import FILE as CLASSIFIER_FILE
from .classifier import Classifier, classify, load_classifier
from .data import KINDS, PictureCache, render_pictures
from .metrics import bicubic, feature_distance, lanczos, psnr
from .tasks import shrink
from .text_encoder import FOLDER as TEXT_FOLDER

EVALUATION_SEED = 900_000  # no training chunk or preview draws from here
WHOLE = 256  # the largest side of which whole scenes are rendered; larger stages are judged by windows of a scene


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How pictures are drawn for a measurement; None takes what the checkpoint recommends."""

    steps: int | None = None  # calls of the network
    guidance_scale: float | None = None  # 1 is off
    sampler: str | None = None  # a key of SAMPLERS
    aug_level: float | None = None  # in [0, 1], where a picture is enlarged
    batch_size: int = 32  # pictures at once
    dtype: str = "float32"  # the network's; the hosts use float32 for imagen-mini

    def of(self, stage: Stage) -> SamplingSettings:
        """The same with every None filled from the stage's defaults."""
        fallback = {"steps": 25, "guidance_scale": 1.0, "sampler": "dpmpp_2m", "aug_level": 0.0}
        known = {name: stage.spec.defaults.get(name, value) for name, value in fallback.items()}
        return dataclasses.replace(self, **{k: v for k, v in known.items() if getattr(self, k) is None})

    def draw(self, seeds: Sequence[int], controls: Sequence[Control] = ()) -> Draw:
        """These settings, none of them None, for pictures of these seeds that follow `controls`."""
        return Draw(
            seeds=seeds,
            steps=self.steps,
            sampler=SAMPLERS[self.sampler](),
            guidance=ClassifierFreeGuidance(scale=self.guidance_scale),
            controls=controls,
        )

    def load(self, path: Path, device: str, *, expected_stage: str | None = None) -> Stage:
        """A checkpoint in this dtype."""
        dtype = getattr(torch, self.dtype)
        warn_where_imitated(dtype, device)
        return load_stage(path, expected_stage=expected_stage, device=device, dtype=dtype)


def draw_base(
    stage: Stage, encoder: T5TextEncoder, captions: list[str], settings: SamplingSettings, *, side: int | None = None
) -> Tensor:
    """One picture a caption, the i-th from seed i: (b 3 side side) on the CPU; side None: the stage's, mostly 64 px."""
    drawn = []
    for first in tqdm(range(0, len(captions), settings.batch_size), desc="drawing", mininterval=5.0):
        part = captions[first : first + settings.batch_size]
        drawn.append(
            sample_base(
                stage,
                Prompt(text=encoder.encode(part)),
                settings.draw(range(first, first + len(part))),
                height=side,
                width=side,
            )
        )
    return torch.cat(drawn)


def seen_by(classifier: Classifier, pictures: Tensor) -> dict[str, Tensor]:
    """`classify` on the classifier's device: each head's class (b,), "features" (b d), on the CPU."""
    device = next(classifier.parameters()).device
    return {name: values.cpu() for name, values in classify(classifier, pictures.to(device)).items()}


def _said(stage: Stage, settings: SamplingSettings) -> dict[str, object]:
    """What a figure depends on."""
    return {"settings": dataclasses.asdict(settings), "stage": stage.spec.stage, "training": stage.spec.training}


def evaluate_sr(
    sr: Path,
    models_dir: Path,
    cache_dir: Path,
    *,
    count: int = 32,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
) -> dict[str, object]:
    """Does super-resolution beat bicubic and Lanczos on `count` held-out pictures?

    Of a stage up to 256 px: whole held-out scenes; beyond: windows of 1024 px scenes, both of 256 px. The small picture is
    the truth shrunk by area; the rivals get it without noise, whatever the aug_level. PSNR in dB (more is better), feature
    distance (less is better), each with the standard error of the mean, the share of pictures on which the network
    wins, and `consistency`: the mean absolute error of the result, shrunk again, against the small picture.
    """
    settings = settings or SamplingSettings()
    stage, classifier = settings.load(sr, device), load_classifier(models_dir / CLASSIFIER_FILE)
    if not stage.spec.enlarges:
        raise ValueError(
            f"{sr} is a {stage.spec.stage} checkpoint, which enlarges nothing: give an sr one, such as sr256"
        )
    settings = settings.of(stage)
    kind = KINDS["full256_held_out" if stage.spec.native_side <= WHOLE else "window1024_held_out"]
    render_pictures(kind, count, cache_dir)
    cache = PictureCache(cache_dir, kind.name)
    prompt_of = _prompts(stage, models_dir)
    size = min(settings.batch_size, 8)
    parts = []
    for first in tqdm(range(0, count, size), desc=f"{stage.spec.stage} {settings.aug_level}", mininterval=5.0):
        rows = range(first, min(count, first + size))
        prompt = prompt_of([cache.captions[i] for i in rows])
        parts.append(enlarged_figures(stage, classifier, cache.pictures(rows), settings, list(rows), prompt))
    each = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {**sr_summary(each), "count": count, **_said(stage, settings)}


@torch.inference_mode()
def enlarged_figures(
    stage: Stage,
    classifier: Classifier,
    truth: Tensor,
    settings: SamplingSettings,
    seeds: list[int],
    prompt: Prompt | None = None,
) -> dict[str, Tensor]:
    """Each figure (b,) of pictures (b 3 h w, sides multiples of 4) shrunk by area and enlarged again, and the rivals'."""
    small = shrink(truth)
    drawn = super_resolve(
        stage,
        small,
        prompt,
        settings.draw(seeds),
        factor=4,
        aug_level=settings.aug_level,
    )
    figures = {"consistency": (shrink(drawn) - small).abs().mean((1, 2, 3))}
    for name, picture in (("network", drawn), ("bicubic", bicubic(small)), ("lanczos", lanczos(small))):
        figures[f"psnr_{name}"] = psnr(picture, truth)
        figures[f"feature_distance_{name}"] = feature_distance(classifier, picture, truth)
    return figures


def sr_summary(each: dict[str, Tensor]) -> dict[str, object]:
    """Means and standard errors of `enlarged_figures`, and how often the network beats bicubic."""
    wins = {
        "wins_psnr": each["psnr_network"] > each["psnr_bicubic"],
        "wins_feature_distance": each["feature_distance_network"] < each["feature_distance_bicubic"],
    }
    return {
        **{name: _mean(values) for name, values in each.items()},
        **{name: won.double().mean().item() for name, won in wins.items()},
    }


def _prompts(stage: Stage, models_dir: Path) -> Callable[[list[str]], Prompt | None]:
    """What a stage is told of captions: nothing, where it reads no text."""
    if not stage.reads_text:
        return lambda captions: None
    encoder = load_text_encoder(models_dir / TEXT_FOLDER, device=stage.device)
    return lambda captions: Prompt(text=encoder.encode(captions))


def _mean(values: Tensor) -> dict[str, float]:
    """Mean and its standard error."""
    values = values.double()
    spread = values.std().item() if len(values) > 1 else float("nan")
    return {"mean": values.mean().item(), "se": spread / len(values) ** 0.5}
