"""Trainable: a prior in the space of a CLIP, which draws the embedding that a text's picture would have."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ..options import TrainOptions, folder
from ._base import Outcome, TrainableStage


@dataclass(frozen=True)
class PriorSettings:
    """In whose space, and from which pictures of the cache."""

    clip: Path | None = None  # a folder or file; None: clip/ in the models folder
    pictures: str = "things64_wide"


class Prior(TrainableStage):
    name = "prior"
    about = "a small prior (DALL-E 2) in the space of a CLIP: from a text to the embedding of a picture (needs both)"
    file = "prior.safetensors"
    batch_size = 128
    unit = "captions"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        usual = PriorSettings()
        parser.add_argument(
            "--clip", type=folder, help="the CLIP, a folder or file (default: clip/ in the models folder)"
        )
        parser.add_argument(
            "--pictures", default=usual.pictures, help="a set of pictures in the cache (default: %(default)s)"
        )

    def settings(self, args: argparse.Namespace) -> PriorSettings:
        return PriorSettings(clip=args.clip, pictures=args.pictures)

    def _train(self, options: TrainOptions, settings: PriorSettings | None) -> Outcome:
        from ..prior import train_prior

        settings = settings or PriorSettings()
        return Outcome.of(train_prior(options, settings.clip or options.models_dir / "clip", settings.pictures))
