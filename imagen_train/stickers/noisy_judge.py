"""Which thing does a noisy picture show? A classifier to guide by, as ADM's is, small (arXiv 2105.05233, section 4).

It is told the time, and sees pictures at all times of the cosine schedule that ADM's own classifier for 64 px was trained
by. Of several things it names the first.

Shapes: b pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.checkpoints.readers.patch_classifier import PatchClassifierSpec, save_patch_classifier
from imagen_core.classifiers.patches import PatchClassifierConfig, fresh_classifier
from imagen_core.clip.config import VisionConfig
from imagen_core.schedules import schedule_from_config

from ..classifier import shaken
from ..data import KINDS, PictureCache, render_pictures
from ..loop import LoopConfig, Preview, train
from ..options import TrainOptions
from .names import things

FILE = "noisy_judge.safetensors"
SHOWN, TEST = "things64_wide", "things64_wide_test"
TEST_PICTURES = 4096
SCHEDULE = {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000}
TOLD_AT = (0.0, 0.25, 0.5, 0.75)  # times at which its accuracy is measured


@dataclass(frozen=True)
class Named:
    """A cache's pictures of one thing, or several of the same, and which: `things` (n,)."""

    cache: PictureCache
    rows: Tensor
    things: Tensor

    @staticmethod
    def of(cache: PictureCache) -> Named:
        alone = torch.tensor(cache.labels["thing_2"]) < 0
        return Named(cache, alone.nonzero()[:, 0], torch.tensor(cache.labels["thing"])[alone])

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (b 3 64 64) and their things (b,)."""
        return self.cache.pictures(self.rows[places].tolist()), self.things[places]


@dataclass(frozen=True, kw_only=True)
class NoisyJudgeTask:
    """Name the thing at any time."""

    shown: Named
    test: Named
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        pictures, wanted = self.shown.at(torch.randint(len(self.shown.rows), (self.batch_size,), generator=generator))
        t = torch.rand(self.batch_size, generator=generator, dtype=torch.float64)
        device = next(model.parameters()).device
        logits = named(model, shaken(pictures, generator, reach=2), t, generator, device)
        return F.cross_entropy(logits.float(), wanted.to(device), label_smoothing=0.05)

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=accuracy_by_time(model, self.test, most=512))


def named(
    model: nn.Module, pictures: Tensor, t: Tensor, generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Logits (b classes) of pictures (b 3 h w) noised to the times t (b,) of SCHEDULE, at whole timesteps."""
    schedule = schedule_from_config(SCHEDULE)
    t = schedule.trained(t)
    alpha, sigma = (each.float()[:, None, None, None] for each in schedule.alpha_sigma(t))
    x_t = alpha * pictures + sigma * torch.randn(pictures.shape, generator=generator)
    return model(x_t.to(device), schedule.network_time(t).float().to(device))


@torch.inference_mode()
def accuracy_by_time(model: nn.Module, data: Named, *, most: int = TEST_PICTURES) -> dict[str, float]:
    """Share of things named right at each time of TOLD_AT."""
    device, generator = next(model.parameters()).device, torch.Generator().manual_seed(0)
    figures = {}
    for t in TOLD_AT:
        right = []
        for places in torch.arange(min(most, len(data.rows))).split(128):
            pictures, wanted = data.at(places)
            times = torch.full((len(places),), t, dtype=torch.float64)
            right.append(named(model, pictures, times, generator, device).argmax(1).cpu() == wanted)
        figures[f"accuracy_at_{t:g}"] = torch.cat(right).double().mean().item()
    return figures


def train_noisy_judge(options: TrainOptions) -> dict[str, object]:
    """Train on the cached SHOWN pictures, test on fresh ones, write models_dir/FILE.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    render_pictures(KINDS[TEST], TEST_PICTURES, options.cache_dir)
    shown, test = (Named.of(PictureCache(options.cache_dir, name)) for name in (SHOWN, TEST))
    task = NoisyJudgeTask(shown=shown, test=test, batch_size=options.batch_size or 160)
    vision = VisionConfig(width=160, layers=4, heads=5, mlp=448, side=64, patch=16)
    config = PatchClassifierConfig(vision=vision, num_classes=len(things()))
    result = train(fresh_classifier(config), task, options, config=LoopConfig(decay_start=0.4, ema_half_life=50.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(shown.rows),
        **accuracy_by_time(result.model, test),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(_save(result.model, config, options.models_dir / FILE, figures))
    return figures


def _save(network: nn.Module, config: PatchClassifierConfig, path: Path, figures: dict[str, object]) -> Path:
    names = tuple(thing.noun for thing in things())
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = PatchClassifierSpec(config=config, schedule_config=SCHEDULE, classes=names, training=figures)
    save_patch_classifier(path, network, spec)
    return path
