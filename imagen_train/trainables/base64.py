"""Trainables: 64 px pictures from text, of rendered scenes and of named things."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from ..options import TrainOptions
from ._base import Outcome
from ._pictures import PictureStage

if TYPE_CHECKING:
    from ..plans import StagePlan


class Base64(PictureStage):
    name = "base64"
    about = "64 px pictures from text (needs t5 and pictures)"
    file = "base64.safetensors"
    batch_size = 64

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import base64_plan

        return base64_plan(self._text_width(options))


class Things64First(PictureStage):
    name = "things64_first"
    about = "how things64 begins (needs `imagen data stickers`, pictures and things_text_encoder)"
    file = "things64_first.safetensors"
    encoder_folder = "things_text_encoder"
    batch_size = 96

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pictures", help="the set it learns (default: its own)")

    def settings(self, args: argparse.Namespace) -> str | None:
        return args.pictures

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import things64_first_plan

        return things64_first_plan(self._text_width(options))

    def _train(self, options: TrainOptions, settings: StagePlan | str | None) -> Outcome:
        """settings: a plan, or the name of the set of pictures that the shipped plan learns."""
        from ..data import kind_named
        from ..plans import held_out_set

        if isinstance(settings, str):
            plan = self.plan(options)
            held_out = held_out_set(kind_named(settings).name) or plan.held_out
            settings = dataclasses.replace(plan, pictures=settings, held_out=held_out)
        return super()._train(options, settings)


class Things64(Things64First):
    name = "things64"
    about = (
        "64 px pictures of named things, begun from things64 or things64_first in the models folder (needs pictures)"
    )
    file = "things64.safetensors"
    begins_from = ("things64.safetensors", "things64_first.safetensors")

    def plan(self, options: TrainOptions) -> StagePlan:
        from ..plans import things64_plan

        return things64_plan(self._text_width(options))
