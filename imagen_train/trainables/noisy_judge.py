"""Trainable: a classifier of noisy pictures of things, which guides."""

from __future__ import annotations

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class NoisyJudge(TrainableStage):
    name = "noisy_judge"
    about = "a classifier of noisy pictures of things, to guide by (needs `imagen data stickers` and pictures)"
    file = "noisy_judge.safetensors"
    batch_size = 160
    shipped = False

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..stickers.noisy_judge import train_noisy_judge

        return Outcome.of(train_noisy_judge(options))
