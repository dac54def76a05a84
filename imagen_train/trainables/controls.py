"""Trainables: what makes a frozen stage follow a hint (ControlNet, T2I-Adapter) or a reference (image prompt, identity)."""

from __future__ import annotations

import argparse
import dataclasses
from abc import abstractmethod
from typing import TYPE_CHECKING

from ..options import TrainOptions, default_state_root, file_there, folder, folder_there, positive
from ._base import Outcome, TrainableStage

if TYPE_CHECKING:
    from ..control_plans import ControlPlan


UNION = "edges,palette,scribble,segments"  # what one control of imagen-mini reads


class _Control(TrainableStage):
    """Its settings, a ControlPlan, name the base, so that there are none that are shipped."""

    batch_size = 64

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--base", type=file_there, required=True, help="the stage that it shall steer; it stays as it is")
        add("--folder", type=folder_there, help="your own pictures with captions, as `imagen data check` takes them")
        add("--pictures", help="a set of pictures in the cache (default: the stage's own)")
        add(
            "--held-out",
            help="the set that previews are about (default: the held-out pictures of the same name, or --pictures)",
        )
        add(
            "--text-encoder",
            type=folder_there,
            help="its folder (default: by the base's width, of the models folder or beside the base)",
        )

    def settings(self, args: argparse.Namespace) -> ControlPlan:
        if args.folder and args.pictures:
            raise ValueError("--folder and --pictures both say what is trained on: give one")
        named: dict[str, object] = {"pictures": args.pictures, "held_out": args.held_out} if args.pictures else {}
        if args.folder:
            named = {"folder": args.folder}
        return dataclasses.replace(self.plan(args), text_encoder=args.text_encoder, **named)

    @abstractmethod
    def plan(self, args: argparse.Namespace) -> ControlPlan: ...

    def _train(self, options: TrainOptions, settings: ControlPlan) -> Outcome:
        from ..control_training import train_control

        result = train_control(settings, options, self.finished(options))
        return Outcome(seconds=result.state.seconds, interrupted=result.interrupted)


def _add_hint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hint", default=UNION, help="kinds of hints, separated by commas (default: %(default)s)")


class ControlNet(_Control):
    name = "control"
    about = "a ControlNet for a stage: a copy of its way down that follows hints (needs --base and pictures)"
    file = "controlnet.safetensors"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        _add_hint(parser)
        parser.add_argument(
            "--depth", type=positive, help="blocks of a transformer that are copied (default: the first three)"
        )
        parser.add_argument(
            "--rank",
            type=positive,
            help="learn the copy as a change of the base of this rank, in a small file that is read beside the base's "
            "(default: a whole copy)",
        )

    def plan(self, args: argparse.Namespace) -> ControlPlan:
        from ..control_plans import control_plan

        depth = {} if args.depth is None else {"depth": args.depth}
        return control_plan(args.base, tuple(args.hint.split(",")), lora_rank=args.rank, **depth)


class Adapter(_Control):
    name = "adapter"
    about = "a T2I-Adapter for a stage: small, asked once a picture (needs --base and pictures)"
    file = "adapter.safetensors"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        _add_hint(parser)

    def plan(self, args: argparse.Namespace) -> ControlPlan:
        from ..control_plans import adapter_plan

        return adapter_plan(args.base, tuple(args.hint.split(",")))


class ImagePrompt(_Control):
    name = "image_prompt"
    about = "an image prompt for a stage that reads text: a picture's tokens beside it (needs --base and pictures)"
    file = "image_prompt.safetensors"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            "--clip",
            type=folder,
            help="a CLIP (folder or file) by which it sees, so that it takes embeddings too (default: it learns to see)",
        )
        parser.add_argument(
            "--words",
            action="store_true",
            help="translate what --clip sees to words that the base reads: minutes, and pictures of known things",
        )

    def plan(self, args: argparse.Namespace) -> ControlPlan:
        from ..control_plans import image_prompt_plan

        return image_prompt_plan(args.base, args.clip, words=args.words)


class Reference(_Control):
    name = "reference"
    about = "a reference for a stage that enlarges: its texture goes into what is enlarged (needs --base and pictures)"
    file = "reference.safetensors"
    batch_size = 32

    def plan(self, args: argparse.Namespace) -> ControlPlan:
        from ..control_plans import reference_plan

        return reference_plan(args.base)


class Identity(_Control):
    name = "identity"
    about = (
        "an identity for a base: an individual that words cannot name, and how it stands (needs --base and pictures)"
    )
    file = "identity.safetensors"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        add = parser.add_argument
        add(
            "--code",
            type=file_there,
            help="the encoder that knows individuals (default: what train identity_code left)",
        )
        add(
            "--embeds",
            type=file_there,
            help="in its place, what your own encoder says of the pictures: a .safetensors with a tensor embeds (n e)",
        )
        add("--depth", type=positive, help="blocks of a transformer that are copied (default: the first two)")

    def plan(self, args: argparse.Namespace) -> ControlPlan:
        from ..control_plans import identity_plan

        if args.code and args.embeds:
            raise ValueError("--code and --embeds both say by what individuals are known: give one")
        code = args.code or default_state_root() / "identity_code" / "identity_code.safetensors"
        depth = {} if args.depth is None else {"depth": args.depth}
        return identity_plan(args.base, code, args.embeds, **depth)
