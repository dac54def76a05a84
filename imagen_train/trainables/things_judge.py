"""Trainable: the judge of things, styles, colours and places."""

from __future__ import annotations

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class ThingsJudge(TrainableStage):
    name = "things_judge"
    about = "the judge of things, styles, colours and places (needs `imagen data stickers` and pictures)"
    file = "things_judge.safetensors"
    batch_size = 96

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..stickers.judge import train_judge

        return Outcome.of(train_judge(options))
