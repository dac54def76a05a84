"""Trainable: the text encoder of imagen-mini, from captions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._base import Outcome, TrainableStage

if TYPE_CHECKING:
    from ..text_encoder import TextModelConfig


class TextEncoder(TrainableStage):
    name = "t5"
    about = "the text encoder, from captions alone"
    file = "text_encoder/model.safetensors"
    batch_size = 128
    unit = "captions"

    def _train(self, options: TrainOptions, settings: TextModelConfig | None) -> Outcome:
        from ..text_encoder import train_text_encoder

        return Outcome.of(train_text_encoder(options, config=settings))
