"""What does each kind of guidance buy on imagen-mini, and what does it cost? Classifier-free, by a CLIP, by a classifier.

ADM's curve (arXiv 2105.05233, section 4.3): how often the class that was asked for is drawn, against Frechet distance, by
a noisy classifier under the null prompt. GLIDE's comparison (arXiv 2112.10741, sections 4 and 5): CLIP guidance against
classifier-free guidance under the same prompts and seeds.

Shapes: n pictures, e CLIP's common space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.classifiers.loading import Classifier, load_classifier
from imagen_core.clip.loading import load_clip
from imagen_core.clip.model import Clip
from imagen_core.conditioning import TextEmbeds
from imagen_core.guidance._base import Guidance
from imagen_core.guidance.classifier import ClassifierGuidance
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.guidance.clip import ClipGuidance
from imagen_core.prompts import Prompt
from imagen_core.sampling import sample_base
from imagen_core.stage import Stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from ..curve import Spot, curve_svg
from ..data import drawings_folder
from ..evaluate import SamplingSettings
from ..metrics import frechet_distance
from .evaluate import Asked, rendered
from .judge import TEST_SEED
from .names import DRAWN_TIER, things
from .nearest import asked_scenes, ranks_of_each
from .pictures import Library, open_library
from .redraw import ENCODER

REFERENCE = 1024  # renders from which the distance is taken
OFF = ClassifierFreeGuidance(scale=1.0)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is drawn from, and what measures."""

    stage: Stage
    encoder: T5TextEncoder
    clip: Clip
    library: Library
    settings: SamplingSettings  # filled in
    judge: Classifier | None = None  # of noisy pictures; asked for by the kind "classifier" alone

    @staticmethod
    def of(
        base: Path, models_dir: Path, clip: Path, judge: Path | None, settings: SamplingSettings, device: str
    ) -> Trial:
        """Load all of it. Errors as their loaders'."""
        stage = settings.load(base, device, expected_stage="base64")
        return Trial(
            stage=stage,
            encoder=load_text_encoder(models_dir / ENCODER, device=device),
            clip=load_clip(clip).to(device),
            library=open_library(drawings_folder()),
            settings=settings.of(stage),
            judge=None if judge is None else load_classifier(judge, device=device),
        )

    @property
    def nothing(self) -> TextEmbeds:
        """The null prompt."""
        return TextEmbeds.null(1, self.stage.spec.unet_config.text_embed_dim)

    @cached_property
    def reference(self) -> Tensor:
        """The CLIP's features (REFERENCE e) of renders of other captions."""
        wanted = asked_scenes(self.library, REFERENCE, TEST_SEED + 1, tier=DRAWN_TIER)
        return self.features(rendered(self.library, wanted))

    def features(self, pictures: Tensor) -> Tensor:
        """(n e), on the CPU."""
        return torch.cat([self.clip.embed_pixels(part).cpu() for part in pictures.split(128)])


Pull = Callable[[Trial, float, Asked], tuple[Guidance, ...]]  # of some captions at a scale


def _classifier_free(trial: Trial, scale: float, part: Asked) -> tuple[Guidance, ...]:
    return (ClassifierFreeGuidance(scale=scale),)


def _by_clip(trial: Trial, scale: float, part: Asked, *, sees: str) -> tuple[Guidance, ...]:
    return OFF, ClipGuidance(scale=scale, clip=trial.clip, text=trial.clip.embed_texts(part.texts), sees=sees)


def _by_classifier(trial: Trial, scale: float, part: Asked) -> tuple[Guidance, ...]:
    if trial.judge is None:
        raise ValueError(
            "the kind classifier guides by a noisy judge: name one with --judge (`imagen train noisy_judge`)"
        )
    labels = tuple(scene.placed[0].thing for scene in part.scenes)
    return OFF, ClassifierGuidance(scale=scale, classifier=trial.judge, labels=labels)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to guide."""

    about: str
    scales: tuple[float, ...]  # tried where none are named
    pull: Pull
    prompted: bool = True  # else drawn under the null prompt


KINDS = {
    "classifier_free": Kind(about="away from the null prompt", scales=(1, 2, 3, 5), pull=_classifier_free),
    "clip": Kind(about="by a CLIP that sees x_t", scales=(0, 0.1, 0.3, 1), pull=partial(_by_clip, sees="x_t")),
    "clip_clean": Kind(about="by a CLIP that sees x_0", scales=(0, 0.3, 1, 3), pull=partial(_by_clip, sees="x_0")),
    "classifier": Kind(
        about="by a noisy classifier, no prompt", scales=(0, 1, 2, 4, 8), pull=_by_classifier, prompted=False
    ),
}


@torch.inference_mode()
def drawn(trial: Trial, kind: Kind, scale: float, wanted: Asked) -> Tensor:
    """One picture (n 3 64 64) a caption, the i-th from seed i, guided at this scale."""
    size, found = trial.settings.batch_size, []
    for first in range(0, len(wanted.texts), size):
        part = Asked(wanted.captions[first : first + size], wanted.scenes[first : first + size])
        draw = trial.settings.draw(range(first, first + len(part.texts)))
        draw = replace(draw, guidance=kind.pull(trial, scale, part))
        text = trial.encoder.encode(part.texts) if kind.prompted else trial.nothing
        found.append(sample_base(trial.stage, Prompt(text=text), draw))
    return torch.cat(found)


@torch.inference_mode()
def named_right(trial: Trial, seen: Tensor, wanted: Asked) -> float:
    """How often the CLIP finds the (first) thing's own name best of all things', from features (n e)."""
    available = trial.library.available(DRAWN_TIER)
    names = trial.clip.embed_texts([things()[i].head for i in available]).cpu()
    best = (seen @ names.mT).argmax(1).tolist()
    return sum(available[i] == scene.placed[0].thing for i, scene in zip(best, wanted.scenes, strict=True)) / len(best)


def measured(trial: Trial, kinds: Sequence[str], scales: Sequence[float] | None, count: int) -> list[dict[str, object]]:
    """Of every kind and scale: "named" (by the CLIP), "nearest" (the thing's render is; with prompts), "clip", "frechet".

    With it "se", the binomial error of the share that counts. The same captions and seeds for all. ValueError: an unknown
    kind, a scale below 0 (classifier_free: 1), fewer than two pictures.
    """
    for name in kinds:
        if name not in KINDS:
            raise ValueError(f"unknown kind {name!r}: expected some of {', '.join(KINDS)}")
    if count < 2:
        raise ValueError(f"{count} pictures have no distance: ask for 2 or more")
    wanted = asked_scenes(trial.library, count, TEST_SEED, tier=DRAWN_TIER)
    asked = [(name, float(scale)) for name in kinds for scale in sorted(set(scales or KINDS[name].scales))]
    sets = [drawn(trial, KINDS[name], scale, wanted) for name, scale in tqdm(asked, unit="scale")]
    rows = [_row(trial, name, scale, pictures, wanted) for (name, scale), pictures in zip(asked, sets, strict=True)]
    prompted = [i for i, (name, _) in enumerate(asked) if KINDS[name].prompted]
    available = trial.library.available(DRAWN_TIER)
    ranks = ranks_of_each([sets[i] for i in prompted], wanted.scenes, trial.library, available) if prompted else []
    for i, places in zip(prompted, ranks, strict=True):
        rows[i]["nearest"] = sum(place == 0 for place in places) / count
    for row in rows:
        share = row.get("nearest", row["named"])
        row["se"] = math.sqrt(share * (1 - share) / count)
    return rows


def _row(trial: Trial, name: str, scale: float, pictures: Tensor, wanted: Asked) -> dict[str, object]:
    seen = trial.features(pictures)
    texts = trial.clip.embed_texts(wanted.texts).cpu()
    return {
        "kind": name,
        "scale": scale,
        "named": named_right(trial, seen, wanted),
        "clip": (seen * texts).sum(1).mean().item(),
        "frechet": frechet_distance(seen, trial.reference),
    }


def table(rows: Sequence[dict[str, object]]) -> str:
    """As Markdown, shares and distances to three places."""
    names = ("kind", "scale", "nearest", "named", "se", "clip", "frechet")
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    for row in rows:
        cells = (_cell(row.get(name)) for name in names)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def guidance_svg(rows: Sequence[dict[str, object]]) -> str:
    """ADM's curve of one kind: Frechet distance over the share of right things, the scale beside each point."""
    share = "nearest" if "nearest" in rows[0] else "named"
    spots = [Spot(row[share], row["frechet"], f"{row['scale']:g}") for row in rows]
    return curve_svg(spots, across=f"right things ({share})", up="Frechet distance, scale beside each point")
