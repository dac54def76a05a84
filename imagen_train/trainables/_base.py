"""What must a stage offer to be trained by name: to say what it is, and to train."""

from __future__ import annotations

import argparse
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a run."""

    seconds: float  # spent stepping, those before an interruption included
    interrupted: bool  # stopped by a signal: saved, and nothing exported
    figures: Mapping[str, object] = field(default_factory=dict)  # what was measured of it, fit for JSON

    @staticmethod
    def of(figures: Mapping[str, object]) -> Outcome:
        """Of a judge's or the text encoder's figures."""
        return Outcome(seconds=60 * figures["minutes"], interrupted=figures["interrupted"], figures=figures)


class TrainableStage(ABC):
    """A concrete subclass in a file of this folder is a stage of `imagen train`."""

    name: ClassVar[str]
    about: ClassVar[str]  # one line for the list
    file: ClassVar[str]  # what it leaves, relative to the models folder
    batch_size: ClassVar[int]
    unit: ClassVar[str] = "pictures"  # what a batch is made of
    shipped: ClassVar[bool] = True  # else its file stays beside the training state
    exports: ClassVar[bool] = False  # whether `export` works while the run goes on

    def add_options(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027
        """Options of its own, besides those that all share."""

    def settings(self, args: argparse.Namespace) -> Any:
        """What the options say of its own kind, for `run`; None for what is shipped."""
        return None

    def adjusted(self, options: TrainOptions) -> TrainOptions:
        """The options as this stage takes them."""
        return options if self.shipped else dataclasses.replace(options, models_dir=options.state_dir)

    def finished(self, options: TrainOptions) -> Path:
        """The file that it leaves when it is done."""
        return self.adjusted(options).models_dir / self.file

    def run(self, options: TrainOptions, settings: Any = None) -> Outcome:
        """Train and write `file`. settings: of the stage's own kind, None for those that are shipped."""
        return self._train(self.adjusted(options), settings)

    @abstractmethod
    def _train(self, options: TrainOptions, settings: Any) -> Outcome: ...

    def export(self, options: TrainOptions) -> Path:
        """Write what a run has saved so far. ValueError for a stage that is only written when it is done."""
        raise ValueError(f"{self.name} is written when it is done: let it end, or stop it and go on with --resume")
