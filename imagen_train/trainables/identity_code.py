"""Trainable: the encoder by which an identity knows individuals."""

from __future__ import annotations

from ..options import TrainOptions
from ._base import Outcome, TrainableStage


class IdentityCode(TrainableStage):
    name = "identity_code"
    about = "an encoder that tells made-up individuals apart, for `train identity` (needs pictures: identities64)"
    file = "identity_code.safetensors"
    batch_size = 256
    shipped = False

    def _train(self, options: TrainOptions, settings: None) -> Outcome:
        from ..identity_code import train_identity_code

        return Outcome.of(train_identity_code(options, self.finished(options)))
