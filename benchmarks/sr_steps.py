"""How many steps does super-resolution need? Each stage at 1, 2, 4, 8 steps and its own number, on held-out drawings.

    OMP_NUM_THREADS=1 python benchmarks/sr_steps.py --count 32

Pictures as of enlargers.py: shrunk by area and enlarged again, every number of steps from the same noise, the picture's
own. What decides is the pairwise difference from the stage's own number, with its standard error: a row whose difference
is within two of them is level. --spoil puts noise on the small picture first, as a base that errs would. Prints Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from enlargers import PICTURES, held_out
from torch import Tensor

from imagen_core import Stage, super_resolve
from imagen_train.classifier import Classifier, load_classifier
from imagen_train.evaluate import CLASSIFIER_FILE, SamplingSettings
from imagen_train.metrics import bicubic, edge_width, feature_distance, psnr
from imagen_train.options import default_models_dir
from imagen_train.tasks import shrink

Enlarger = Callable[[Tensor, int], Tensor]  # (1 3 h w) and a seed -> (1 3 4h 4w), in [-1, 1]
HEADINGS = (
    "stage", "aug_level", "steps", "PSNR", "beside its own number", "feature distance", "beside its own number",
    "edge width", "CPU s a picture",
)  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What one number of steps made of every picture, each (b,), and the CPU seconds one took."""

    psnr: Tensor
    distance: Tensor
    edges: float
    seconds: float

    @staticmethod
    def of(enlarge: Enlarger, small: Tensor, truth: Tensor, judge: Classifier) -> Figures:
        """Pictures one by one; the first is enlarged once beforehand, so that no row pays for what is done once."""
        with torch.inference_mode():
            enlarge(small[:1], 0)
            began = time.process_time()
            pictures = torch.cat([enlarge(one[None], i).float().clamp(-1, 1) for i, one in enumerate(small)])
            seconds = (time.process_time() - began) / len(small)
        edges = edge_width(pictures, truth).nanmedian().item()
        return Figures(psnr(pictures, truth), feature_distance(judge, pictures, truth), edges, seconds)

    def cells(self, own: Figures) -> list[str]:
        return [
            f"{self.psnr.mean():.2f} dB",
            "" if self is own else f"{beside(self.psnr, own.psnr, 2)} dB",
            f"{self.distance.mean():.4f}",
            "" if self is own else beside(self.distance, own.distance, 4),
            f"{self.edges:.2f} px",
            f"{self.seconds:.3f}",
        ]


def beside(values: Tensor, own: Tensor, digits: int) -> str:
    """The mean of the pairs' differences, and its standard error."""
    difference = values - own
    error = difference.std().item() / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    return f"{difference.mean():+.{digits}f} ± {error:.{digits}f}"


def spoiled(small: Tensor, strength: float) -> Tensor:
    """The small pictures (b 3 h w) with noise of this deviation, the same for every row."""
    noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(0))
    return (small + strength * noise).clamp(-1, 1)


def in_steps(stage: Stage, settings: SamplingSettings, steps: int) -> Enlarger:
    """The stage in so many steps, all else as `settings` have it."""
    settings = dataclasses.replace(settings, steps=steps)
    return lambda small, seed: super_resolve(
        stage, small, None, settings.draw([seed]), factor=4, aug_level=settings.aug_level
    )


def rows_of(stage: str, options: argparse.Namespace) -> Iterator[list[str]]:
    """Bicubic, then for every level the stage's own number of steps, marked, and the others; each when it is known."""
    judge = load_classifier(options.models_dir / CLASSIFIER_FILE)
    loaded = SamplingSettings(dtype=options.dtype).load(options.models_dir / f"{stage}.safetensors", "cpu")
    wanted = SamplingSettings(dtype=options.dtype).of(loaded)
    truth = held_out(stage, options.count)
    small = spoiled(shrink(truth), options.spoil)
    rival = Figures.of(lambda picture, _: bicubic(picture), small, truth, judge)
    yield [stage, "", "bicubic", *rival.cells(rival)]
    for level in options.levels or [wanted.aug_level]:
        settings = dataclasses.replace(wanted, aug_level=level)
        own = Figures.of(in_steps(loaded, settings, wanted.steps), small, truth, judge)
        yield [stage, f"{level:g}", f"{wanted.steps} (its own)", *own.cells(own)]
        for n in sorted({*options.steps} - {wanted.steps}):
            found = Figures.of(in_steps(loaded, settings, n), small, truth, judge)
            yield [stage, f"{level:g}", str(n), *found.cells(own)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--levels", type=float, nargs="+", help="aug_levels (default: the stage's own)")
    parser.add_argument("--count", type=int, default=32, help="pictures (default: %(default)s)")
    parser.add_argument("--spoil", type=float, default=0.0, help="noise on the small picture (default: none)")
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--dtype", default="float32", help="of our network (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
    for stage in options.stages:
        for row in rows_of(stage, options):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
