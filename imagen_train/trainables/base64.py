"""Trainables: 64 px pictures from text, of rendered scenes and of named things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._pictures import PictureStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class Base64(PictureStage):
    name = "base64"
    about = "64 px pictures from text (needs t5 and pictures)"
    file = "base64.safetensors"
    batch_size = 64
    taught_by = "teacher"

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import base64_plan

        return base64_plan(self._text_width(options))


class Things64(PictureStage):
    name = "things64"
    about = "64 px pictures of named things (needs `imagen data stickers`, pictures and things_text_encoder)"
    file = "things64.safetensors"
    encoder_folder = "things_text_encoder"
    batch_size = 96

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import things64_plan

        return things64_plan(self._text_width(options))
