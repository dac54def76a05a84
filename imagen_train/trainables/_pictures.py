"""What do the stages that draw pictures share? A plan, from which everything else follows."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..options import TrainOptions
from ._base import Outcome, TrainableStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class PictureStage(TrainableStage):
    """Trained by a `StagePlan` (its settings), exported to a checkpoint that samples."""

    exports: ClassVar[bool] = True
    # Files of the models folder of which the first that is there is begun with, where no other weights are named.
    begins_from: ClassVar[tuple[str, ...]] = ()
    encoder_folder: ClassVar[str] = "text_encoder"  # in the models folder, where no encoder is named

    @abstractmethod
    def plan(self, options: TrainOptions) -> StagePlan:
        """The plan that is shipped, for what lies in the models folder."""

    def _text_width(self, options: TrainOptions) -> int:
        """How wide the embeddings of the text encoder are that captions are read by."""
        from ..caption_files import encoder_width

        return encoder_width(self._reading(options).encoder)

    def _reading(self, options: TrainOptions) -> TrainOptions:
        """The options with the text encoder that this stage reads by."""
        return dataclasses.replace(
            options, text_encoder=options.text_encoder or options.models_dir / self.encoder_folder
        )

    def _train(self, options: TrainOptions, settings: StagePlan | None) -> Outcome:
        from ..stages import train_stage

        options = self._begun(options)
        result = train_stage(settings or self.plan(options), self._reading(options))
        return Outcome(seconds=result.state.seconds, interrupted=result.interrupted)

    def _begun(self, options: TrainOptions) -> TrainOptions:
        """The options with the weights that it begins with, where none are named: a run that goes on tells of these."""
        there = [path for name in self.begins_from if (path := options.models_dir / name).is_file()]
        if there and options.from_weights is None:
            return dataclasses.replace(options, from_weights=there[0])
        return options

    def export(self, options: TrainOptions) -> Path:
        from ..stages import export_saved

        return export_saved(self.plan(options), self._reading(self._begun(options)))
