"""How well does a stage follow hints, and does the caption still hold? For none, half and full strength, and a wrong hint.

Hints are made of held-out pictures, and each is given with its own caption; a wrong one is another picture's. Chance is
what pictures drawn without any hint score, the ceiling what the held-out pictures themselves do ("renders").

Shapes: b pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core import (
    HINTS,
    Control,
    Draw,
    LoadedAdapter,
    Prompt,
    Stage,
    load_adapter,
    load_text_encoder,
    sample_base,
    super_resolve,
)
from imagen_core.text.t5 import T5TextEncoder

from .caption_files import encoder_for
from .classifier import Classifier, classify
from .control_plans import held_out_of
from .controls import plain_hints
from .data import DrawingKind, PictureCache
from .evaluate import SamplingSettings
from .following import MEASURES, name_of
from .metrics import Figure
from .segment_maps import DepthMaps
from .stickers.nearest import ranks_of_each
from .stickers.scene import Scene
from .tasks import shrink

STRENGTHS = (0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What is drawn: held-out pictures, their captions, and the labels that a judge may know, -1 for none."""

    pictures: Tensor  # (b 3 h w) in [-1, 1]
    captions: list[str]
    labels: dict[str, Tensor]
    scenes: list[Scene] = field(default_factory=list)  # of composed pictures, what they show; else none
    depths: DepthMaps | None = None  # how near it is, where that is asked for

    @staticmethod
    def of(cache: PictureCache, count: int) -> Cases:
        count = min(count, len(cache))
        return Cases(
            pictures=cache.pictures(range(count)),
            captions=cache.captions[:count],
            labels={name: torch.tensor(values[:count]) for name, values in cache.labels.items()},
            scenes=_scenes(cache, count),
        )


def _scenes(cache: PictureCache, count: int) -> list[Scene]:
    if not isinstance(cache.kind, DrawingKind) or cache.kind.window is not None:
        return []
    chunks = range(-(-count // cache.kind.chunk))
    return [scene for index in chunks for scene in cache.kind.scenes(index)][:count]


# Whether pictures show what the cases' captions say: a figure for each set of them (b 3 h w), or none.
Judge = Callable[[Cases, Sequence[Tensor]], list[dict[str, Figure]]]


def by_classifier(classifier: Classifier) -> Judge:
    """As a trained judge sees what the labels say."""

    def judged(cases: Cases, pictures: Tensor) -> dict[str, Figure]:
        seen = classify(classifier, pictures)
        heads = [name for name in classifier.heads if name in cases.labels]
        right = [(seen[name] == cases.labels[name])[cases.labels[name] >= 0] for name in heads]
        return {"caption": figure(torch.cat(right).float())} if heads else {}

    return lambda cases, sets: [judged(cases, pictures) for pictures in sets]


def by_nearest_render(kind: DrawingKind, most: int) -> Judge:
    """Without a judge: is the right thing's own render the nearest? Of the first `most` single things; see `nearest`."""

    def judged(cases: Cases, sets: Sequence[Tensor]) -> list[dict[str, Figure]]:
        singles = [i for i, scene in enumerate(cases.scenes) if scene.layout == "one"][:most]
        library = kind.library()
        scenes = [cases.scenes[i] for i in singles]
        found = ranks_of_each([pictures[singles] for pictures in sets], scenes, library, library.available(kind.tier))
        return [{"caption": figure(torch.tensor(ranks) == 0)} for ranks in found]

    return judged


@dataclass(frozen=True, kw_only=True)
class Row:
    """A set of pictures, and what they are measured by: hints of these kinds, made of `source`."""

    table: str  # the kind of hint, or kinds
    name: str
    kinds: tuple[str, ...]
    pictures: Tensor  # (b 3 h w)
    source: Tensor  # (b 3 h w)

    def followed(self) -> dict[str, Figure]:
        measures = [measure for kind in self.kinds for measure in MEASURES[kind]]
        return {name_of(measure): figure(measure(self.pictures, self.source)) for measure in measures}


@dataclass(frozen=True, kw_only=True)
class Following:
    """One measurement: a control on its stage, drawing the cases."""

    stage: Stage
    control: LoadedAdapter
    encoder: T5TextEncoder | None  # None of a stage that enlarges
    settings: SamplingSettings
    cases: Cases
    judge: Judge | None = None

    def table(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """For each kind of hint a row a strength, one for a wrong hint, and the ceiling; one for two kinds at once. Of
        an image prompt also one without words.
        """
        rows = list(self._rows())
        held = [{}] * len(rows) if self.judge is None else self.judge(self.cases, [row.pictures for row in rows])
        found: dict[str, dict[str, dict[str, Figure]]] = {}
        for row, caption in zip(rows, held, strict=True):
            found.setdefault(row.table, {})[row.name] = row.followed() | caption
        return found

    def _rows(self) -> Iterator[Row]:
        known = [kind for kind in self.control.spec.config.kinds if kind in MEASURES]
        pictures = self.cases.pictures
        plain = self._drawn({})
        for kind in known:
            hints = self._hints(kind)
            by_strength = {f"{strength:g}": self._drawn({kind: hints}, strength) for strength in STRENGTHS}
            for name, drawn in {"none": plain, **by_strength, "renders": pictures}.items():
                yield Row(table=kind, name=name, kinds=(kind,), pictures=drawn, source=pictures)
            other = pictures.roll(1, 0)
            wrong = self._drawn({kind: hints.roll(1, 0)})
            yield Row(table=kind, name="wrong hint", kinds=(kind,), pictures=wrong, source=other)
            if kind not in HINTS:
                unsaid = self._drawn({kind: hints}, said=False)
                yield Row(table=kind, name="without words", kinds=(kind,), pictures=unsaid, source=pictures)
        if len(known) > 1:
            both = tuple(known[:2])
            drawn = self._drawn({kind: self._hints(kind) for kind in both})
            yield Row(table=" and ".join(both), name="1", kinds=both, pictures=drawn, source=pictures)

    def _hints(self, kind: str) -> Tensor:
        """Of each picture (b 3 h w); the reference of an image prompt is the picture itself."""
        cases = self.cases
        return plain_hints(kind, cases.pictures, cases.depths) if kind in HINTS else cases.pictures

    def _drawn(self, hints: dict[str, Tensor], strength: float = 1.0, *, said: bool = True) -> Tensor:
        """One picture a caption (or, not `said`, an empty one), the i-th from seed i, under hints (b 3 h w) by kind."""
        captions = self.cases.captions if said else [""] * len(self.cases.captions)
        count, drawn = len(captions), []
        for first in tqdm(range(0, count, self.settings.batch_size), desc="drawing", mininterval=5.0):
            part = slice(first, min(count, first + self.settings.batch_size))
            controls = [
                Control(adapter=self.control, picture=hint[part], kind=kind, strength=strength)
                for kind, hint in hints.items()
            ]
            draw = self.settings.draw(range(count)[part], controls)
            drawn.append(self._draw(self.cases.pictures[part], captions[part], draw))
        return torch.cat(drawn)

    def _draw(self, pictures: Tensor, captions: list[str], draw: Draw) -> Tensor:
        """By the captions; or, of a stage that enlarges, the pictures shrunk and enlarged again."""
        if self.encoder is None:
            return super_resolve(self.stage, shrink(pictures), None, draw, aug_level=self.settings.aug_level)
        height, width = pictures.shape[-2:]
        prompt = Prompt(text=self.encoder.encode(captions))
        return sample_base(self.stage, prompt, draw, height=height, width=width)


def figure(values: Tensor) -> Figure:
    """Mean, standard error and count of (n,) values."""
    values = values.double()
    spread = values.std().item() if len(values) > 1 else 0.0
    return {"mean": values.mean().item(), "se": spread / max(1, len(values)) ** 0.5, "count": len(values)}


def evaluate_control(
    base: Path,
    control: Path,
    models_dir: Path,
    cache_dir: Path,
    *,
    pictures: str | None = None,
    count: int = 500,
    settings: SamplingSettings | None = None,
    judge: Classifier | None = None,
    nearest: int = 0,
    device: str = "cpu",
) -> dict[str, object]:
    """The table of `Following` for a control's file on its stage. ValueError where they do not fit.

    pictures: None takes the base's own held-out ones. judge: whether captions hold; nearest: of so many single things
    instead, by the renders of all, where the pictures are composed of drawings.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device)
    enlarges = stage.spec.enlarges
    if enlarges and (stage.reads_text or nearest or judge):
        raise ValueError(
            f"{base} enlarges: controls are measured on stages that draw, or read no text, and only what is drawn is judged"
        )
    loaded = load_adapter(control, device=device, dtype=stage.dtype)
    loaded.check_fits(stage)
    cache = PictureCache(cache_dir, pictures or held_out_of(stage.spec))
    cases = Cases.of(cache, count)
    if any(HINTS[kind].reads_depths for kind in loaded.spec.config.kinds if kind in HINTS):
        cases = dataclasses.replace(cases, depths=DepthMaps(cache))
    if nearest and not cases.scenes:
        raise ValueError(
            f"{cache.kind.name} are not pictures of named things: leave out --nearest, or name such --pictures"
        )
    width, folders = stage.spec.unet_config.text_embed_dim, (models_dir, base.parent)
    following = Following(
        stage=stage,
        control=loaded,
        encoder=None if enlarges else load_text_encoder(encoder_for(width, folders), device=device),
        settings=settings.of(stage),
        cases=cases,
        judge=by_nearest_render(cache.kind, nearest) if nearest else by_classifier(judge) if judge else None,
    )
    asked = {"pictures": cache.kind.name, "count": len(cases.captions), "control": control.name, "base": base.name}
    return {**following.table(), "asked": asked}
