"""Trainable: things64 that is shown what stays of a picture, and repaints the rest."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._base import Outcome
from ._pictures import PictureStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class Inpaint(PictureStage):
    name = "inpaint"
    about = "things64 that repaints, from the things64 in the models folder (needs pictures of things64_wide)"
    file = "things64_inpaint.safetensors"
    encoder_folder = "things_text_encoder"
    batch_size = 96

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import inpaint_plan

        return inpaint_plan(self._text_width(options))

    def _train(self, options: TrainOptions, settings: StagePlan | None) -> Outcome:
        """Begun from things64, where no other weights are named and there is no run to go on with."""
        base = options.models_dir / "things64.safetensors"
        if options.from_weights is None and not options.resume and base.is_file():
            options = dataclasses.replace(options, from_weights=base)
        return super()._train(options, settings)
