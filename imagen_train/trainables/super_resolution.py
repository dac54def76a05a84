"""Trainables: the two stages that enlarge a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._pictures import PictureStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class SR256(PictureStage):
    name = "sr256"
    about = "64 -> 256 px (needs pictures)"
    file = "sr256.safetensors"
    batch_size = 16

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import sr256_plan

        return sr256_plan()


class SR1024(PictureStage):
    name = "sr1024"
    about = "256 -> 1024 px (needs pictures)"
    file = "sr1024.safetensors"
    batch_size = 16

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import sr1024_plan

        return sr1024_plan()
