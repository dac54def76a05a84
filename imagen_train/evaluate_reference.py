"""Does a reference help a stage that enlarges, more than none and than a wrong one? On held-out pictures, by two measures.

The small picture is a crop shrunk by area. The reference is another crop of the same large picture, as far off as there is
room; a wrong one is another picture's. The ceiling is the crop itself, turned: its very texture, in other places.

Shapes: b crops, s their side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from imagen_core import ADAPTERS, Control, LoadedAdapter, Stage, load_adapter, super_resolve

from .classifier import FILE, load_classifier
from .control_plans import held_out_of
from .data import PictureCache
from .evaluate import SamplingSettings
from .evaluate_control import figure
from .metrics import Figure, bicubic, feature_distance, psnr
from .references import SEED, crop_pairs
from .tasks import shrink

Measures = dict[str, Callable[[Tensor, Tensor], Tensor]]  # each of pictures and of what they should be: (b,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enlarger:
    """A stage with its reference."""

    stage: Stage
    adapter: LoadedAdapter
    settings: SamplingSettings

    def enlarged(self, small: Tensor, references: Tensor | None) -> Tensor:
        """Small pictures (b 3 s/4 s/4), the i-th from seed i and by its own of references (b 3 s s)."""
        parts = []
        for first in range(0, len(small), self.settings.batch_size):
            part = slice(first, min(len(small), first + self.settings.batch_size))
            controls = [] if references is None else [Control(adapter=self.adapter, picture=references[part])]
            draw = self.settings.draw(range(part.start, part.stop), controls)
            parts.append(super_resolve(self.stage, small[part], None, draw, aug_level=self.settings.aug_level))
        return torch.cat(parts)


def rows_of(enlarger: Enlarger, truth: Tensor, other: Tensor) -> dict[str, Tensor]:
    """What is made of crops (b 3 s s) that were shrunk, by which reference."""
    small = shrink(truth)
    told = {"none": None, "same_picture": other, "wrong": other.roll(1, 0), "itself_turned": truth.flip(2).mT}
    return {name: enlarger.enlarged(small, each) for name, each in told.items()} | {"bicubic": bicubic(small)}


def measured(rows: dict[str, Tensor], truth: Tensor, measures: Measures) -> dict[str, dict[str, Figure]]:
    """Each row's figures, and by how much it is better or worse than without a reference, crop by crop."""
    found: dict[str, dict[str, Figure]] = {}
    for name, pictures in rows.items():
        found[name] = {}
        for key, measure in measures.items():
            values = measure(pictures, truth)
            found[name] |= {key: figure(values), f"{key}_gained": figure(values - measure(rows["none"], truth))}
    return found


def evaluate_reference(
    base: Path,
    reference: Path,
    models_dir: Path,
    cache_dir: Path,
    *,
    pictures: str | None = None,
    count: int = 64,
    side: int = 96,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
) -> dict[str, object]:
    """`measured` of `count` crops of a side. pictures: None takes the stage's own held-out ones.

    Raises ValueError for files that do not belong together.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device)
    adapter = load_adapter(reference, device=device, dtype=stage.dtype)
    if not ADAPTERS[adapter.spec.name].reads_small:
        raise ValueError(f"{reference} is a {adapter.spec.name}: name what imagen train reference made")
    adapter.check_fits(stage)
    cache, generator = PictureCache(cache_dir, pictures or held_out_of(stage.spec)), torch.Generator().manual_seed(SEED)
    truth, other = crop_pairs(cache, count, side, generator, apart=True)
    enlarger = Enlarger(stage=stage, adapter=adapter, settings=settings.of(stage))
    classifier = load_classifier(models_dir / FILE)
    measures = {"psnr": psnr, "feature_distance": lambda a, b: feature_distance(classifier, a, b)}
    asked = {"pictures": cache.kind.name, "count": count, "side": side, "reference": reference.name, "base": base.name}
    rows = measured(rows_of(enlarger, truth, other), truth, measures)
    return {**rows, "asked": asked, "settings": dataclasses.asdict(enlarger.settings)}
