"""Trainables: the judge of alignment, and the same network as a teacher of the base."""

from __future__ import annotations

import dataclasses

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class Judge(TrainableStage):
    name = "classifier"
    about = "the judge of alignment, from rendered pictures"
    file = "classifier.safetensors"
    batch_size = 64

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..classifier import train_classifier

        return Outcome.of(train_classifier(options))


class Teacher(Judge):
    """From another seed, lest the judge of the figures be the teacher of what it judges."""

    name = "teacher"
    about = "a classifier from another seed, whose feature maps base64 --teacher learns (needs pictures)"
    shipped = False

    def adjusted(self, options: TrainOptions) -> TrainOptions:
        return dataclasses.replace(super().adjusted(options), seed=options.seed + 1)
