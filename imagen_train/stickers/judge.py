"""What does a small CNN see in a picture of named things: which, in which style and colour, how many, where, before what?

It judges drawn pictures, so it also learns the colours and things that no network is shown (`held_out`). Things of a pair
go by place: left before right, upper before lower.

Shapes: b pictures, n of a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..classifier import Classifier, classify, head_loss
from ..data import KINDS, PictureCache, render_pictures
from ..judge_files import load_judge, save_judge
from ..loop import LoopConfig, Preview, train
from ..options import TrainOptions
from .backdrops import NAMES as BACKDROPS
from .colors import COLORS
from .names import things
from .scene import LAYOUTS, RELATIONS, STYLES

FILE = "things_judge.safetensors"
KIND = "things_judge"
HELD_OUT_PICTURES = 16_384  # colours and things that training never shows, for the judge alone
TEST_PICTURES = 4096
TEST_SEED = 900_000
MOST_THINGS = 5  # in one picture


def heads() -> dict[str, int]:
    """Classes a head, in the order of the labels (`pictures.labels`)."""
    count = len(things())
    return {
        "layout": len(LAYOUTS),
        "style": len(STYLES),
        "thing": count,
        "thing_2": count,
        "color": len(COLORS),
        "color_2": len(COLORS),
        "count": MOST_THINGS + 1,
        "relation": len(RELATIONS),
        "backdrop": len(BACKDROPS),
    }


@dataclass(frozen=True)
class Labelled:
    """A cache's pictures and their labels (n heads), -1 where there is nothing to tell."""

    cache: PictureCache
    targets: Tensor

    @staticmethod
    def of(cache: PictureCache) -> Labelled:
        return Labelled(cache, torch.tensor([cache.labels[name] for name in heads()]).T)

    def drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random pictures (b 3 h w) and their labels (b heads)."""
        rows = torch.randint(len(self.targets), (count,), generator=generator)
        return self.cache.pictures(rows.tolist()), self.targets[rows]


@dataclass(frozen=True, kw_only=True)
class JudgeTask:
    """Every head from pictures shifted a little and made a little noisy; a third of a batch is held out from training."""

    shown: Labelled
    held_out: Labelled
    test: Labelled
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        third = self.batch_size // 3
        parts = [self.shown.drawn(self.batch_size - third, generator), self.held_out.drawn(third, generator)]
        return head_loss(model, parts, generator)

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=accuracy(model, self.test, limit=512))


def accuracy(model: Classifier, data: Labelled, *, limit: int | None = None) -> dict[str, float]:
    """Share of right answers a head, over pictures that have such a thing."""
    count = min(len(data.targets), limit or len(data.targets))
    device = next(model.parameters()).device
    seen = classify(model, data.cache.pictures(range(count)).to(device))
    targets = data.targets[:count]
    return {
        name: (seen[name].cpu() == targets[:, i])[targets[:, i] >= 0].double().mean().item()
        for i, name in enumerate(model.heads)
    }


def train_judge(options: TrainOptions) -> dict[str, object]:
    """Train on the cached things64_wide and held-out pictures, test on fresh ones, write models_dir/FILE.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    for name, count in (("things64_wide_held_out", HELD_OUT_PICTURES), ("things64_wide_test", TEST_PICTURES)):
        render_pictures(KINDS[name], count, options.cache_dir)
    shown, held_out, test = (
        Labelled.of(PictureCache(options.cache_dir, name))
        for name in ("things64_wide", "things64_wide_held_out", "things64_wide_test")
    )
    task = JudgeTask(shown=shown, held_out=held_out, test=test, batch_size=options.batch_size or 96)
    model = Classifier(heads=heads())
    if options.from_weights:
        model = load_things_judge(options.from_weights).requires_grad_(True)
    result = train(model, task, options, config=LoopConfig(decay_start=0.5, ema_half_life=100.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "accuracy": accuracy(result.model, test),
    }
    if options.export and not result.interrupted:
        path = save_judge(result.model, options.models_dir / FILE, figures, kind=KIND, heads=heads())
        figures["file"] = str(path)
    return figures


def load_things_judge(path: Path) -> Classifier:
    """The judge in float32, eval mode, frozen. ValueError: another kind of file, or one that knows other things."""
    return load_judge(Classifier(heads=heads()), path, kind=KIND, heads=heads())
