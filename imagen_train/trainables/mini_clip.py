"""Trainable: imagen-mini's own CLIP."""

from __future__ import annotations

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class MiniClip(TrainableStage):
    name = "mini_clip"
    about = "imagen-mini's own CLIP (needs `imagen data stickers` and pictures)"
    file = "clip/model.safetensors"
    batch_size = 160

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..mini_clip import train_clip

        return Outcome.of(train_clip(options))
