"""How well does a stage follow hints, and does the caption still hold? For none, half and full strength, and a wrong hint.

Hints are made of held-out pictures, and each is given with its own caption; a wrong one is another picture's. Chance is
what pictures drawn without any hint score, the ceiling what the held-out pictures themselves do.

Shapes: b pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core import HINTS, Control, LoadedAdapter, Prompt, Stage, load_adapter, load_text_encoder, sample_base
from imagen_core.text.t5 import T5TextEncoder

from .classifier import Classifier, classify
from .data import PictureCache
from .evaluate import SamplingSettings
from .following import edge_f1_of, palette_error
from .metrics import Figure

STRENGTHS = (0.5, 1.0)
MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "edges": edge_f1_of,
    "soft_edges": edge_f1_of,
    "scribble": edge_f1_of,
    "palette": palette_error,
    "tile": palette_error,
}


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What is drawn: held-out pictures, their captions, and the labels that a judge may know, -1 for none."""

    pictures: Tensor  # (b 3 h w) in [-1, 1]
    captions: list[str]
    labels: dict[str, Tensor]

    @staticmethod
    def of(cache: PictureCache, count: int) -> Cases:
        count = min(count, len(cache))
        labels = {name: torch.tensor(values[:count]) for name, values in cache.labels.items()}
        return Cases(pictures=cache.pictures(range(count)), captions=cache.captions[:count], labels=labels)


@dataclass(frozen=True, kw_only=True)
class Following:
    """One measurement: a control on its stage, drawing the cases."""

    stage: Stage
    control: LoadedAdapter
    encoder: T5TextEncoder
    settings: SamplingSettings
    cases: Cases
    judge: Classifier | None = None

    def table(self) -> dict[str, object]:
        """For each kind of hint a row a strength, one for a wrong hint, and the ceiling; one for all kinds at once."""
        known = [kind for kind in self.control.spec.config.kinds if kind in MEASURES]
        plain = self._drawn({})
        rows: dict[str, object] = {}
        for kind in known:
            hints = HINTS[kind]()(self.cases.pictures)
            by_strength = {f"{strength:g}": self._drawn({kind: hints}, strength) for strength in STRENGTHS}
            drawn = {"none": plain, **by_strength, "renders": self.cases.pictures}
            rows[kind] = {name: self._row(pictures, [kind], self.cases.pictures) for name, pictures in drawn.items()}
            other = self.cases.pictures.roll(1, 0)
            wrong = self._drawn({kind: HINTS[kind]()(other)})
            rows[kind]["wrong hint"] = self._row(wrong, [kind], other)
        if len(known) > 1:
            both = known[:2]
            drawn = self._drawn({kind: HINTS[kind]()(self.cases.pictures) for kind in both})
            rows[" and ".join(both)] = {"1": self._row(drawn, both, self.cases.pictures)}
        return rows

    def _row(self, pictures: Tensor, kinds: list[str], source: Tensor) -> dict[str, Figure]:
        """How these pictures follow the hints made of `source`, and whether they show what their own captions say."""
        measured = {MEASURES[kind].__name__.removesuffix("_of"): MEASURES[kind](pictures, source) for kind in kinds}
        return {name: figure(values) for name, values in measured.items()} | self._caption(pictures)

    def _caption(self, pictures: Tensor) -> dict[str, Figure]:
        if self.judge is None:
            return {}
        seen = classify(self.judge, pictures)
        heads = [name for name in self.judge.heads if name in self.cases.labels]
        right = [(seen[name] == self.cases.labels[name])[self.cases.labels[name] >= 0] for name in heads]
        return {"caption": figure(torch.cat(right).float())} if heads else {}

    def _drawn(self, hints: dict[str, Tensor], strength: float = 1.0) -> Tensor:
        """One picture a caption, the i-th from seed i, under hints (b 3 h w) by kind."""
        count, drawn = len(self.cases.captions), []
        size = dict(zip(("height", "width"), self.cases.pictures.shape[-2:], strict=True))
        for first in tqdm(range(0, count, self.settings.batch_size), desc="drawing", mininterval=5.0):
            part = slice(first, min(count, first + self.settings.batch_size))
            controls = [
                Control(adapter=self.control, picture=hint[part], kind=kind, strength=strength)
                for kind, hint in hints.items()
            ]
            draw = self.settings.draw(range(count)[part], controls)
            prompt = Prompt(text=self.encoder.encode(self.cases.captions[part]))
            drawn.append(sample_base(self.stage, prompt, draw, **size))
        return torch.cat(drawn)


def figure(values: Tensor) -> Figure:
    """Mean, standard error and count of (n,) values."""
    spread = values.double().std().item() if len(values) > 1 else 0.0
    return {"mean": values.double().mean().item(), "se": spread / max(1, len(values)) ** 0.5, "count": len(values)}


def evaluate_control(
    base: Path,
    control: Path,
    models_dir: Path,
    cache_dir: Path,
    *,
    pictures: str,
    count: int = 500,
    settings: SamplingSettings | None = None,
    judge: Classifier | None = None,
    device: str = "cpu",
) -> dict[str, object]:
    """The table of `Following` for a control's file on a stage that draws. ValueError where they do not fit."""
    settings = settings or SamplingSettings()
    stage = settings.load(base, device, expected_stage="base64")
    loaded = load_adapter(control, device=device, dtype=stage.dtype)
    loaded.check_fits(stage)
    cases = Cases.of(PictureCache(cache_dir, pictures), count)
    following = Following(
        stage=stage,
        control=loaded,
        encoder=load_text_encoder(models_dir / "text_encoder", device=device),
        settings=settings.of(stage),
        cases=cases,
        judge=judge,
    )
    asked = {"pictures": pictures, "count": len(cases.captions), "control": control.name, "base": base.name}
    return {**following.table(), "asked": asked}
