"""What may a person say on the command line about a training run? The options that all stages share."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path


def folder(text: str) -> Path:
    """A folder or file that an option names, `~` spelled out; for argparse."""
    from imagen_core.places import place

    try:
        return place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def folder_there(text: str) -> Path:
    """The same, of a folder that must be there, because it is read."""
    if not (path := folder(text)).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path}; make it, or name another")
    return path


def file_there(text: str) -> Path:
    """The same, of a file."""
    if not (path := folder(text)).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path


def positive(text: str) -> int:
    """A whole number from 1 on; for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


def device_there(text: str) -> str:
    """A device that torch knows and this machine has; for argparse."""
    if text == "cpu":
        return text
    import torch

    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # no such name, or nothing here that it is
        raise argparse.ArgumentTypeError(f"there is no device {text!r} here: name another, such as cpu") from error
    return text


def default_state_root() -> Path:
    """Where training states and image caches live unless told otherwise: never inside the repository.

    ValueError for a user without a home folder, who has to say where.
    """
    from imagen_core.places import home, place

    if named := os.environ.get("IMAGEN_TRAINING_DIR"):
        return place(named)
    if (own := home()) is None:
        raise ValueError(
            "there is no home folder for training states and pictures: set IMAGEN_TRAINING_DIR to a folder"
        )
    return own / ".cache" / "imagen-nodes" / "training"


def default_models_dir() -> Path:
    """The shipped weights' folder, models/imagen-mini beside this package."""
    return Path(__file__).resolve().parent.parent / "models" / "imagen-mini"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long, where, on what."""

    state_dir: Path  # states, logs and sample pictures
    cache_dir: Path  # rendered pictures, kept between runs
    models_dir: Path  # the finished weights
    minutes: float | None = None  # of the whole run, interruptions left out; the rate reaches zero at its end
    max_steps: int | None = None  # of the optimiser; whichever limit is nearer counts
    resume: bool = False  # go on from the last save in state_dir
    from_weights: Path | None = None  # a checkpoint to begin with
    teacher: Path | None = None  # a network whose feature maps are learned too (REPA)
    device: str = "cpu"  # as torch calls it
    threads: int = 1  # of the CPU
    bf16: bool = False  # autocast of the network; always on under cuda
    compile: bool = False  # torch.compile the network
    batch_size: int | None = None  # pictures (captions) a step; None: the stage's own
    seed: int = 0  # everything random follows from it
    rate: float = 1.0  # factor on the learning rates
    preview_minutes: float = 5.0  # between sample pictures; inf: none
    export: bool = True  # whether models_dir is written
    accumulate: int = 1  # batches a step: their gradients' mean
    checkpointing: bool = False  # less memory for a third more time
    shard: bool = False  # each of several processes keeps a part of the weights (FSDP), instead of all of them
    tensorboard: bool = False  # also write TensorBoard's files into the state directory
    text_encoder: Path | None = None  # None: the one in the models folder

    @property
    def encoder(self) -> Path:
        """The folder of the text encoder that captions are read by."""
        return self.text_encoder or self.models_dir / "text_encoder"

    def __post_init__(self) -> None:
        if self.minutes is None and self.max_steps is None:
            raise ValueError("training would never end: give --minutes, --max-steps, or both")
        for name in ("minutes", "max_steps", "batch_size", "preview_minutes", "accumulate", "threads"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} is {value}: expected more than 0")
        if not self.rate >= 0:
            raise ValueError(f"rate is {self.rate}: expected 0 (nothing is learned) or more")


def add_dtype(command: argparse.ArgumentParser) -> None:
    """What a measurement draws in."""
    command.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what the networks draw in; bfloat16 is several times faster on a CPU that has it (default: %(default)s)",
    )


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add every field of TrainOptions to `parser`."""
    add = parser.add_argument
    add("--minutes", type=float, help="wall-clock limit of the whole run; the learning rate reaches zero at its end")
    add("--max-steps", type=positive, help="limit in optimiser steps; whichever limit is nearer its end counts")
    add("--resume", action="store_true", help="go on from the state directory's last save")
    add(
        "--from-weights",
        type=file_there,
        help="begin a new run (new warm-up, new schedule) from these .safetensors weights",
    )
    add(
        "--teacher",
        type=file_there,
        help="base64 only: a classifier's .safetensors whose feature maps the network learns too",
    )
    add("--state-dir", type=folder, help="where states, logs and sample pictures go")
    add("--cache-dir", type=folder, help="where rendered pictures are kept between runs")
    add("--models-dir", type=folder, help="where the finished weights go (default: models/imagen-mini)")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads; 1 is fastest on shared cores (default: %(default)s)")
    add("--bf16", action="store_true", help="run the network under bfloat16 autocast (always on under cuda)")
    add("--compile", action="store_true", help="torch.compile the network (needs a C++ compiler on the CPU)")
    add("--batch-size", type=positive, help="pictures (captions) a step; default: the stage's own")
    add("--seed", type=int, default=0, help="everything random follows from it (default: %(default)s)")
    add(
        "--rate", type=float, default=1.0, help="factor on both learning rates; below 1 for a short run on good weights"
    )
    add("--preview-minutes", type=float, default=5.0, help="minutes between sample pictures (default: %(default)s)")
    add("--no-export", dest="export", action="store_false", help="leave the models folder alone")


def train_options(args: argparse.Namespace, stage: str) -> TrainOptions:
    """The parsed options of one stage, with folders filled in."""
    return TrainOptions(
        state_dir=args.state_dir or default_state_root() / stage,
        cache_dir=args.cache_dir or default_state_root() / "cache",
        models_dir=args.models_dir or default_models_dir(),
        minutes=args.minutes,
        max_steps=args.max_steps,
        resume=args.resume,
        from_weights=args.from_weights,
        teacher=args.teacher,
        device=args.device,
        threads=args.threads,
        bf16=args.bf16 or args.device.startswith("cuda"),
        compile=args.compile,
        batch_size=args.batch_size,
        seed=args.seed,
        rate=args.rate,
        preview_minutes=args.preview_minutes,
        export=args.export,
    )
