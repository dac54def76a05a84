"""How does a network learn to draw an individual anew? From another picture of it, key points, and words of the backdrop.

Each batch is learned in one of three ways, so that either half of the adapter is of use alone: tokens beside the text,
the IdentityNet, or both (the shares: WAYS). Some references are withheld; that is what the null branch draws.

Shapes: b images, n a set's pictures, e a code's numbers, h w pixels.
"""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from imagen_core import AdapterSpec, Control, LoadedAdapter, Stage, TextEmbeds
from imagen_core.adapters import Adapter, Given
from imagen_core.conditioning import Signals

from .classifier import shaken
from .control_plans import ControlPlan
from .controls import SHOWN, ControlTask
from .identity_code import verification
from .identity_embeds import read_embeds
from .identity_labels import Identities
from .loop import Preview
from .options import TrainOptions
from .sheets import grid

WAYS = {"both": 0.6, "tokens": 0.2, "net": 0.2}  # of the batches
WITHHELD = 0.1  # of the references


class IdentityTask(ControlTask):
    """The loss of an identity: its pictures under another picture of it, its key points, and a caption of the backdrop."""

    def __init__(self, plan: ControlPlan, stage: Stage, options: TrainOptions):
        if stage.spec.enlarges or plan.folder is not None:
            raise ValueError(
                "an identity is learned by a base that draws, from pictures of which is known who they show: leave out "
                "--folder, and name the base's file by --base"
            )
        super().__init__(plan, stage, options)
        self.identities = Identities.of(self.cache)
        self.embeds = None if plan.embeds is None else read_embeds(plan.embeds, len(self.cache))

    def _given(self, x_0: Tensor, text: TextEmbeds | None, base: Signals, generator: torch.Generator) -> Given:
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        (way,) = rng.choices(tuple(WAYS), tuple(WAYS.values()))
        height, width = x_0.shape[-2:]
        key_points = None if way == "tokens" else self.identities.key_points(self.indices, height, width).to(x_0.device)
        known = torch.rand(len(x_0), generator=generator) >= WITHHELD
        return Given(
            picture=self._references(rng, generator).to(x_0.device),
            kind=torch.zeros(len(x_0), dtype=torch.long, device=x_0.device),
            text=text,
            base=base,
            key_points=key_points,
            beside=way != "net",
            known=known.to(x_0.device),
        )

    def _references(self, rng: Random, generator: torch.Generator) -> Tensor:
        """Another picture (b 3 h w) of who each of the batch shows; or the embedding (b e) of one."""
        others = [self.identities.other(picture, rng) for picture in self.indices]
        if self.embeds is not None:
            return self.embeds[others]
        return shaken(self.cache.pictures(others), generator, reach=2)

    def preview(self, model: Adapter) -> Preview:
        """Rows: held-out individuals, where each shall stand, and what is drawn there in the words of another's picture."""
        known = Identities.of(self.shown)
        own = [members[0] for members in list(known.alike.values())[:SHOWN]]
        others = [known.other(picture, Random(picture)) for picture in own]
        targets = self.shown.pictures(own).to(self.device)
        references = self.shown.pictures(others).to(self.device)
        told = references
        if self.embeds is not None:  # of the pictures that are learned from; of those held out there are none
            told = self.embeds[[index % len(self.embeds) for index in others]]
        points = known.key_points(own, *targets.shape[-2:])
        loaded = LoadedAdapter(network=model, spec=AdapterSpec.of(model, self.stage))
        drawn = self.drawn(
            targets, [self.shown.captions[i] for i in own], [Control(adapter=loaded, picture=told, key_points=points)]
        )
        figures = {}
        if model.encoder is not None and len(own) > 1:
            codes = [model.codes(each.to(self.device)).float().cpu() for each in (references, drawn)]
            figures = verification(*codes)
        rows = [references.cpu(), points, drawn, targets.cpu()]
        return Preview(picture=grid(torch.cat(rows), columns=len(own)), figures=figures)
