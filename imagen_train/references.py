"""How does a stage that enlarges learn to take texture from a reference? From two crops of one large picture.

One crop is made small and enlarged again, the other is the reference, turned at random: what it shows of the same texture is
not in the same place (SRNTT, arXiv 1903.00834, section 4.1, pairs pictures likewise). Some references are of other pictures,
so that what is not alike is not taken.

Shapes: b crops, s their side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagen_core import AdapterSpec, Control, Draw, LoadedAdapter, TextEmbeds, super_resolve
from imagen_core.adapters import Adapter, Given
from imagen_core.conditioning import Signals
from imagen_core.super_resolution import augment

from .classifier import shaken
from .controls import SHOWN, ControlTask
from .data import PictureCache, to_float
from .loop import Preview
from .metrics import psnr
from .sheets import grid
from .tasks import shrink, shrunk_and_grown
from .windows import liveliness, turned

TRIES, GRID = 8, 4  # crops that are tried of a picture; pixels between which they may begin
STRANGE = 0.2  # of references: another picture's
SEED = 900_000  # of the crops that previews and figures show


def crop_pairs(
    cache: PictureCache, count: int, side: int, generator: torch.Generator, *, apart: bool = False
) -> tuple[Tensor, Tensor]:
    """`count` crops (b 3 s s), and of each another crop of the same picture, turned at random.

    apart: the other is the farthest of those tried, and shares no pixel where the picture is large enough; else it may.
    """
    pairs = []
    for index in torch.randint(len(cache), (count,), generator=generator).tolist():
        chunk, place = cache.place(index)
        picture = cache.chunks[chunk][place]
        crop, *others = _tried(picture, side, generator)
        other = max(others, key=lambda each: max(abs(each.y - crop.y), abs(each.x - crop.x))) if apart else others[0]
        way = int(torch.randint(8, (), generator=generator))
        pairs.append((crop.pixels, turned(other.pixels, way)))
    large, references = (to_float(np.stack(each)) for each in zip(*pairs, strict=True))
    return large, references


class _Crop(NamedTuple):
    pixels: np.ndarray  # (s s 3)
    y: int
    x: int


def _tried(picture: np.ndarray, side: int, generator: torch.Generator) -> list[_Crop]:
    """TRIES crops of a picture (h w 3), the liveliest first."""
    steps = [(length - side) // GRID + 1 for length in picture.shape[:2]]
    places = torch.rand(TRIES, 2, generator=generator) * torch.tensor(steps)
    found = [_Crop(picture[y : y + side, x : x + side], y, x) for y, x in (places.long() * GRID).tolist()]
    return sorted(found, key=lambda each: -liveliness(each.pixels))


class ReferenceTask(ControlTask):
    """The loss of a reference beside a stage that enlarges."""

    references: Tensor  # of the batch, (b 3 s s)

    def _enlarging(self, generator: torch.Generator) -> tuple[Tensor, None, Signals]:
        """Crops, and the same small, grown back and noised; their references are kept for `_given`."""
        x_0, other = crop_pairs(self.cache, self.batch_size, self.plan.crop, generator)
        strange = torch.rand(len(other), generator=generator) < STRANGE
        other = torch.where(strange[:, None, None, None], other.roll(1, 0), other)
        self.references = shaken(other, generator, reach=2).to(self.device)
        x_0 = x_0.to(self.device)
        level = torch.rand(len(x_0), generator=generator).to(self.device) ** 1.5 * self.plan.max_aug_level
        noise = torch.randn(x_0.shape, generator=generator).to(self.device)
        return (
            x_0,
            None,
            Signals(pixels=augment(shrunk_and_grown(x_0), level, self.stage.schedule, noise), aug_level=level),
        )

    def _given(self, x_0: Tensor, text: TextEmbeds | None, base: Signals, generator: torch.Generator) -> Given:
        return Given(picture=self.references, kind=torch.zeros(len(x_0), device=x_0.device), base=base)

    def preview(self, model: Adapter) -> Preview:
        """Rows: held-out crops, their references, and what is enlarged by these and without. Figures: PSNR of both."""
        crops = crop_pairs(self.shown, SHOWN, self.plan.crop, torch.Generator().manual_seed(SEED))
        truth, other = (each.to(self.device) for each in crops)
        loaded = LoadedAdapter(network=model, spec=AdapterSpec.of(model, self.stage))
        drawn = {
            name: super_resolve(self.stage, shrink(truth), None, Draw(seeds=range(len(truth)), controls=controls))
            for name, controls in (("with", [Control(adapter=loaded, picture=other)]), ("without", []))
        }
        figures = {f"psnr_{name}": psnr(each, truth.cpu()).mean().item() for name, each in drawn.items()}
        rows = torch.cat([truth.cpu(), other.cpu(), *drawn.values()])
        return Preview(picture=grid(rows, columns=len(truth)), figures=figures)
