"""How does a stage that enlarges learn to take texture from a reference? From two crops of one large picture.

One crop is made small and enlarged again, the other is the reference, turned at random: what it shows of the same texture is
not in the same place (SRNTT, arXiv 1903.00834, section 4.1, pairs pictures likewise). Some references are of other pictures,
so that what is not alike is not taken.

Shapes: b crops, s their side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imagen_core import AdapterSpec, Control, Draw, LoadedAdapter, TextEmbeds, super_resolve
from imagen_core.adapters import Adapter, Given
from imagen_core.conditioning import Signals
from imagen_core.super_resolution import augment

from .classifier import shaken
from .controls import SHOWN, ControlTask
from .loop import Preview
from .metrics import psnr
from .sheets import grid
from .tasks import shrink, shrunk_and_grown

STRANGE = 0.2  # of references: another picture's
SEED = 900_000  # of the crops that previews and figures show


class ReferenceTask(ControlTask):
    """The loss of a reference beside a stage that enlarges."""

    references: Tensor  # of the batch, (b 3 s s)

    def _enlarging(self, generator: torch.Generator) -> tuple[Tensor, None, Signals]:
        """Crops, and the same small, grown back and noised; their references are kept for `_given`."""
        x_0, other = self.cache.crop_pairs(self.batch_size, self.plan.crop, generator)
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
        crops = self.shown.crop_pairs(SHOWN, self.plan.crop, torch.Generator().manual_seed(SEED))
        truth, other = (each.to(self.device) for each in crops)
        loaded = LoadedAdapter(network=model, spec=AdapterSpec.of(model, self.stage))
        drawn = {
            name: super_resolve(self.stage, shrink(truth), None, Draw(seeds=range(len(truth)), controls=controls))
            for name, controls in (("with", [Control(adapter=loaded, picture=other)]), ("without", []))
        }
        figures = {f"psnr_{name}": psnr(each, truth.cpu()).mean().item() for name, each in drawn.items()}
        rows = torch.cat([truth.cpu(), other.cpu(), *drawn.values()])
        return Preview(picture=grid(rows, columns=len(truth)), figures=figures)
