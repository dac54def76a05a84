"""Trainables: what makes a frozen stage follow a hint, as a ControlNet and as a T2I-Adapter."""

from __future__ import annotations

import argparse
import dataclasses
from abc import abstractmethod
from typing import TYPE_CHECKING

from ..options import TrainOptions, file_there
from ._base import Outcome, TrainableStage

if TYPE_CHECKING:
    from ..control_plans import ControlPlan


class _Control(TrainableStage):
    """Its settings, a ControlPlan, name the base, so that there are none that are shipped."""

    batch_size = 64

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--base", type=file_there, required=True, help="the stage that it shall steer; it stays as it is")
        add("--hint", default="edges,palette", help="kinds of hints, separated by commas (default: %(default)s)")
        add("--pictures", help="a set of pictures in the cache (default: the stage's own)")
        add("--held-out", help="the set that previews are about (default: the stage's own, or --pictures)")

    def settings(self, args: argparse.Namespace) -> ControlPlan:
        named = {"pictures": args.pictures, "held_out": args.held_out} if args.pictures else {}
        return dataclasses.replace(self.plan(args, tuple(args.hint.split(","))), **named)

    @abstractmethod
    def plan(self, args: argparse.Namespace, hints: tuple[str, ...]) -> ControlPlan: ...

    def _train(self, options: TrainOptions, settings: ControlPlan) -> Outcome:
        from ..controls import train_control

        result = train_control(settings, options, self.finished(options))
        return Outcome(seconds=result.state.seconds, interrupted=result.interrupted)


class ControlNet(_Control):
    name = "control"
    about = "a ControlNet for a stage: a copy of its way down that follows hints (needs --base and pictures)"
    file = "control.safetensors"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--depth", type=int, help="blocks of a transformer that are copied (default: all)")

    def plan(self, args: argparse.Namespace, hints: tuple[str, ...]) -> ControlPlan:
        from ..control_plans import control_plan

        return control_plan(args.base, hints, depth=args.depth)


class Adapter(_Control):
    name = "adapter"
    about = "a T2I-Adapter for a stage: small, asked once a picture (needs --base and pictures)"
    file = "adapter.safetensors"

    def plan(self, args: argparse.Namespace, hints: tuple[str, ...]) -> ControlPlan:
        from ..control_plans import adapter_plan

        return adapter_plan(args.base, hints)
