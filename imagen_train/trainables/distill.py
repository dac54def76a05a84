"""Trainable: a LoRA with which a stage draws in fewer calls."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import TrainOptions, file_there, folder_there, positive
from ._base import Outcome, TrainableStage

if TYPE_CHECKING:
    from ..distillation import DistillationPlan


class Distill(TrainableStage):
    """Its settings, a DistillationPlan, name the base, so that there are none that are shipped."""

    name = "distill"
    about = "a LoRA with which a stage draws without guidance, and in few steps (needs --base and pictures)"
    file = "distilled.safetensors"
    batch_size = 48
    shipped = False

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--base", type=file_there, required=True, help="the stage that is distilled; it stays as it is")
        add("--guidance-scale", type=float, help="what the teacher is guided at (default: the checkpoint's own)")
        add(
            "--steps",
            type=positive,
            help="calls that it shall draw in, each as far as two of the teacher's (default: guidance alone is learned); "
            "--from-weights names the LoRA of a distillation before, which is then the teacher",
        )
        add("--rank", type=positive, default=16, help="how large the change may be (default: %(default)s)")
        add("--pictures", help="a set of pictures in the cache (default: the base's own)")
        add("--text-encoder", type=folder_there, help="its folder (default: by the base's width)")

    def adjusted(self, options: TrainOptions) -> TrainOptions:
        """As they are: the text encoder is found in the models folder."""
        return options

    def finished(self, options: TrainOptions) -> Path:
        return options.state_dir / self.file

    def settings(self, args: argparse.Namespace) -> DistillationPlan:
        from ..distillation import DistillationPlan

        return DistillationPlan(
            base=args.base,
            guidance_scale=args.guidance_scale,
            steps=args.steps,
            lora_rank=args.rank,
            pictures=args.pictures,
            text_encoder=args.text_encoder,
        )

    def _train(self, options: TrainOptions, settings: DistillationPlan) -> Outcome:
        from ..distillation import distill

        result = distill(settings, options, self.finished(options))
        return Outcome(seconds=result.state.seconds, interrupted=result.interrupted)
