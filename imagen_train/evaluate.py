"""How good are the finished weights? Samples them as a user would, and measures with metrics.py.

Every function returns figures fit for JSON, with counts, standard errors, the settings, and the same for real renders.
Shapes: b pictures, n samples, d features.
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
from imagen_core.samplers import SAMPLERS
from imagen_core.sampling import sample_base, super_resolve
from imagen_core.stage import Prompt, Stage, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .classifier import FILE as CLASSIFIER_FILE
from .classifier import Classifier, classify, load_classifier
from .data import KINDS, PictureCache, render_pictures
from .metrics import Figure, bicubic, feature_distance, frechet_distance, judge_alignment, judge_words, lanczos, psnr
from .reader import FILE as READER_FILE
from .reader import Reader, load_reader, read_words
from .scenes import SceneBatch, render, sample_scenes
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
        return load_stage(path, expected_stage=expected_stage, device=device, dtype=getattr(torch, self.dtype))


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What measuring the base needs beside it: the text encoder, classifier and reader that ship with it."""

    encoder: T5TextEncoder
    classifier: Classifier
    reader: Reader

    @staticmethod
    def from_folder(models_dir: Path, device: str = "cpu") -> Judges:
        """Load them from models/imagen-mini's layout. FileNotFoundError when one was not trained yet."""
        return Judges(
            encoder=load_text_encoder(models_dir / TEXT_FOLDER, device=device),
            classifier=load_classifier(models_dir / CLASSIFIER_FILE).to(device),
            reader=load_reader(models_dir / READER_FILE).to(device),
        )

    def judge(self, pictures: Tensor, batch: SceneBatch) -> dict[str, Figure]:
        """Do pictures (b 3 64 64) show what the batch's captions state, words on signs included?"""
        read = read_words(self.reader, pictures.to(next(self.reader.parameters()).device))
        return judge_alignment(seen_by(self.classifier, pictures), batch) | judge_words(read, batch)


def draw_base(
    stage: Stage,
    encoder: T5TextEncoder,
    captions: list[str],
    settings: SamplingSettings,
    *,
    side: int | None = None,
    first_seed: int = 0,
) -> Tensor:
    """One picture a caption, the i-th from seed first_seed + i: (b 3 side side) on the CPU; side None: the stage's own,
    mostly 64 px.
    """
    drawn = []
    for first in tqdm(range(0, len(captions), settings.batch_size), desc="drawing", mininterval=5.0):
        part = captions[first : first + settings.batch_size]
        drawn.append(
            sample_base(
                stage,
                Prompt(text=encoder.encode(part)),
                settings.draw(range(first_seed + first, first_seed + first + len(part))),
                height=side,
                width=side,
            )
        )
    return torch.cat(drawn)


def seen_by(classifier: Classifier, pictures: Tensor) -> dict[str, Tensor]:
    """`classify` on the classifier's device: each head's class (b,), "features" (b d), on the CPU."""
    device = next(classifier.parameters()).device
    return {name: values.cpu() for name, values in classify(classifier, pictures.to(device)).items()}


def evaluate_alignment(
    base: Path,
    models_dir: Path,
    *,
    count: int = 256,
    settings: SamplingSettings | None = None,
    held_out: bool = True,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """Does the base (a base64 checkpoint) draw what `count` captions state? "samples" beside "renders", the ceiling.

    held_out: captions whose first (color, shape) pair training never showed. pictures_out: a PNG of the first 48.
    """
    settings = settings or SamplingSettings()
    stage, judges = settings.load(base, device, expected_stage="base64"), Judges.from_folder(models_dir, device)
    settings = settings.of(stage)
    batch = sample_scenes(count, seed=seed, held_out=held_out)
    drawn = draw_base(stage, judges.encoder, batch.captions, settings)
    if pictures_out is not None:
        _write_sheet(pictures_out, drawn[:48], batch)
    return {
        "samples": judges.judge(drawn, batch),
        "renders": judges.judge(render(batch, 64), batch),
        "captions": count,
        "held_out": held_out,
        "seed": seed,
        **_said(stage, settings),
    }


def _said(stage: Stage, settings: SamplingSettings) -> dict[str, object]:
    """What a figure depends on."""
    return {"settings": dataclasses.asdict(settings), "stage": stage.spec.stage, "training": stage.spec.training}


def _write_sheet(path: Path, drawn: Tensor, batch: SceneBatch) -> None:
    from .sheets import grid, write_captions, write_picture

    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, grid(drawn, columns=8, scale=2))
    write_captions(path.with_suffix(".txt"), batch.captions[: len(drawn)])


def evaluate_frechet(
    base: Path,
    models_dir: Path,
    *,
    count: int = 2000,
    reference: int = 5000,
    settings: SamplingSettings | None = None,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
) -> dict[str, object]:
    """Frechet distance of `count` samples to `reference` renders, in the classifier's features, beside its floor.

    "floor" is the same distance for `count` fresh renders: what a perfect generator would get. The captions are drawn
    as in training. Distances with different counts cannot be compared: small samples look farther away.
    """
    if min(count, reference) < 2:
        raise ValueError(f"count and reference must be at least 2, got {count} and {reference}")
    settings = settings or SamplingSettings()
    stage, judges = settings.load(base, device, expected_stage="base64"), Judges.from_folder(models_dir, device)
    settings = settings.of(stage)
    batch = sample_scenes(count, seed=seed)
    features = {
        "reference": render_features(judges.classifier, reference, seed + 1),
        "renders": render_features(judges.classifier, count, seed + 2),
        "samples": seen_by(judges.classifier, draw_base(stage, judges.encoder, batch.captions, settings))["features"],
    }
    return {
        "frechet": frechet_distance(features["samples"], features["reference"]),
        "floor": frechet_distance(features["renders"], features["reference"]),
        "count": count,
        "reference": reference,
        "seed": seed,
        **_said(stage, settings),
    }


def render_features(classifier: Classifier, count: int, seed: int, *, part: int = 500) -> Tensor:
    """The classifier's features (count d) of fresh renders of training's captions."""
    batch = sample_scenes(count, seed=seed)
    parts = [seen_by(classifier, render(batch[i : i + part], 64))["features"] for i in range(0, count, part)]
    return torch.cat(parts)


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
