"""Trainable: things64 that is shown what stays of a picture, and repaints the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._pictures import PictureStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class Inpaint(PictureStage):
    name = "inpaint"
    about = "things64 that repaints, as a change of the one in the models folder (needs pictures of things64_wide)"
    file = "things64_inpaint.safetensors"
    encoder_folder = "things_text_encoder"
    batch_size = 96
    begins_from = ("things64.safetensors",)

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import inpaint_plan

        return inpaint_plan(self._text_width(options))
