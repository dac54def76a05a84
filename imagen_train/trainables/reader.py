"""Trainable: the judge of words on signs."""

from __future__ import annotations

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class Reader(TrainableStage):
    name = "reader"
    about = "the judge of words on signs, from rendered pictures"
    file = "reader.safetensors"
    batch_size = 64

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..reader import train_reader

        return Outcome.of(train_reader(options))
