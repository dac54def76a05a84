"""What may a person say about training one stage on their pictures? A TOML file, one table for each question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagen_core.losses import WEIGHTINGS
from imagen_core.predictions import PREDICTIONS
from imagen_core.samplers import SAMPLERS
from imagen_core.schedules import schedule_from_config

from .buckets import Buckets
from .course import DECAYS
from .optim import OPTIMISERS
from .options import default_models_dir
from .tables import from_table, read_toml

LOSSES, TIMES = ("simple", "hybrid"), ("power", "importance")
DRAWS = "base64"  # the stage that draws from text
STAGES = ("base64", "sr256", "sr1024")  # whose plans a run begins from


def one_of(name: str, value: str, known: Any) -> None:
    """ValueError for a name that is none of the known ones."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def between(name: str, value: float, low: float, high: float = math.inf) -> None:
    """ValueError for a number that is out of range."""
    if not low <= value <= high:
        limit = f"{low} to {high}" if high < math.inf else f"{low} or more"
        raise ValueError(f"{name} is {value}, expected {limit}")


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """[data]: which pictures."""

    path: Path  # a folder, a Hugging Face dataset, parquet files or tars, as `imagen data check` takes them
    side: int = 64  # of the square they are fitted to, in pixels
    buckets: Buckets | None = None  # shapes that pictures may keep: {} for the usual ones; None: their middle square
    crop: int | None = None  # super-resolution: side of the crops that are trained on; None: `side`, at most 64
    caption: str | None = None  # column of the captions; None: the usual names
    held_out: float = 0.05  # share that is never trained on, for figures
    flip: bool = False  # mirror half of the pictures; wrong where captions say left and right, or pictures show words

    def __post_init__(self) -> None:
        between("side", self.side, 8, 4096)
        between("held_out", self.held_out, 0, 0.5)
        if self.buckets is not None:
            between("buckets.step", self.buckets.step, 1, self.side)
        if self.crop is not None:
            between("crop", self.crop, 4, self.shortest_side)

    @property
    def shortest_side(self) -> int:
        """The shortest side of a picture that is prepared, in pixels."""
        return min(map(min, self.buckets.sizes(self.side))) if self.buckets else self.side


@dataclass(frozen=True, kw_only=True)
class DiffusionTable:
    """[diffusion]: what the network learns to predict, and what counts."""

    predict: str = "x_0"  # eps, v, x_0 or flow
    schedule: Mapping[str, Any] = field(
        default_factory=lambda: {"name": "cosine", "shift": -1.0, "logsnr_min": -12.0, "logsnr_max": 12.0}
    )  # as the schedules' classes have it; flow models take {name = "flow"}
    weighting: str = "capped_v"  # of the error by noise level: capped_v, min_snr, x_0, eps, v or flow
    cap: float = 5.0  # of capped_v, and min_snr's gamma
    loss: str = "simple"  # or hybrid: the network also learns each step's variance, for ddpm (Improved DDPM)
    times: str = "power"  # or importance: by how large the loss at a time has lately been (Improved DDPM)
    time_power: float = 0.75  # by power, t = u^time_power: below 1 noise comes more often, until two thirds of the run
    drop_captions: float = 0.1  # share of captions that are left out, for classifier-free guidance
    max_aug_level: float = 0.3  # super-resolution: noise that is put on the small picture, at most

    def __post_init__(self) -> None:
        one_of("predict", self.predict, [name for name, each in PREDICTIONS.items() if not each.jumps])
        one_of("loss", self.loss, LOSSES)
        one_of("times", self.times, TIMES)
        one_of("weighting", self.weighting, WEIGHTINGS)
        schedule_from_config(dict(self.schedule))
        between("cap", self.cap, 1e-3)
        between("time_power", self.time_power, 0.1, 10)
        between("drop_captions", self.drop_captions, 0, 1)
        between("max_aug_level", self.max_aug_level, 0, 1)


@dataclass(frozen=True, kw_only=True)
class OptimiserTable:
    """[optimiser]: how weights move."""

    name: str = "muon"  # muon (and adamw for what is no matrix), adamw or adafactor
    rate: float | None = (
        None  # peak learning rate of adamw or adafactor; None: imagen-mini's of that stage, 7.5e-4 or so
    )
    muon_rate: float | None = None  # peak learning rate of muon; None: imagen-mini's, 0.01 or 0.02
    weight_decay: float = 0.0
    clip: float = 1.0  # length at which gradients are cut; muon ignores length
    warmup_steps: int = 100
    decay_start: float = 0.6  # part of the run after which the rate falls to zero
    decay: str = "linear"  # or cosine; with decay_start = 0 it falls all the way
    ema_half_life: float = 300.0  # steps after which a weight counts half in the average that is exported

    def __post_init__(self) -> None:
        one_of("name", self.name, OPTIMISERS)
        one_of("decay", self.decay, DECAYS)
        for name in ("rate", "muon_rate"):
            if (value := getattr(self, name)) is not None:
                between(name, value, 0, 1)
        between("clip", self.clip, 1e-6)
        between("warmup_steps", self.warmup_steps, 0)
        between("decay_start", self.decay_start, 0, 1)
        between("ema_half_life", self.ema_half_life, 0.1)


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """[run]: how long, and on what."""

    minutes: float | None = None  # wall-clock limit of the whole run, interruptions left out ...
    steps: int | None = None  # ... or a number of steps: then the same seed gives the same weights
    batch_size: int = 32  # pictures a batch
    accumulate: int = 1  # batches a step
    bf16: bool = False  # always on under cuda
    checkpointing: bool = False  # less memory for a third more time
    shard: bool = False  # each of several processes keeps a part of every weight (FSDP), instead of all of them
    compile: bool = False  # torch.compile; needs a C++ compiler on the CPU
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    save_minutes: float = 2.0
    preview_minutes: float = 5.0
    tensorboard: bool = False  # also write TensorBoard's files

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ValueError("training would never end: give minutes, steps, or both")
        for name in ("batch_size", "accumulate", "threads"):
            between(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class SamplesTable:
    """[samples]: what previews draw, always from the same noise, and what the checkpoint recommends."""

    prompts: tuple[str, ...] = ()  # none: captions of held-out pictures
    steps: int = 20
    guidance_scale: float = 3.0
    sampler: str = "dpmpp_2m"

    def __post_init__(self) -> None:
        one_of("sampler", self.sampler, SAMPLERS)
        between("steps", self.steps, 1, 1000)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One stage, one file."""

    out: Path  # the models folder to be: weights, state, cache and report
    data: DataTable  # pictures and captions
    run: RunTable  # how long, on what
    stage: str = "base64"  # base64 draws from text; sr256 and sr1024 enlarge four times
    text_encoder: Path | None = None  # folder of the encoder that reads the captions; None: imagen-mini's
    # Begin from a checkpoint's weights and network; a name alone ("things64") is imagen-mini's.
    from_weights: Path | None = None
    network: Mapping[str, Any] | None = None  # kind and settings of a network; None: imagen-mini's of that stage
    diffusion: DiffusionTable = DiffusionTable()  # schedule and prediction
    optimiser: OptimiserTable = OptimiserTable()  # which, and at what rates
    samples: SamplesTable = SamplesTable()  # pictures to look at meanwhile

    def __post_init__(self) -> None:
        one_of("stage", self.stage, STAGES)
        if self.from_weights is not None and self.network is not None:
            raise ValueError("from_weights brings its own network: leave [network] out")
        if self.stage != DRAWS:
            self._check_fourths()

    def _check_fourths(self) -> None:
        """Stages that enlarge four times are shown pictures of a fourth of the sides."""
        step = self.data.buckets.step if self.data.buckets else None
        for name, value in (("side", self.data.side), ("crop", self.data.crop), ("buckets.step", step)):
            if value is not None and value % 4:
                raise ValueError(f"data: {name} is {value}, and {self.stage} enlarges four times: take a multiple of 4")


PATHS = ("out", "text_encoder", "from_weights")


def read_run_config(path: Path) -> RunConfig:
    """A config from its file; relative paths in it start at the file. ValueError, naming the setting, for any mistake."""
    table = read_toml(path)
    if shipped := _shipped(path.parent, table.get("from_weights")):
        table["from_weights"] = str(shipped)
    for name in PATHS:
        if isinstance(table.get(name), str):
            table[name] = str(path.parent / Path(table[name]).expanduser())
    if isinstance(table.get("data"), dict) and isinstance(table["data"].get("path"), str):
        table["data"]["path"] = str(path.parent / Path(table["data"]["path"]).expanduser())
    return from_table(RunConfig, table, path.name)


def _shipped(folder: Path, name: object) -> Path | None:
    """imagen-mini's weights of a name alone, where `folder` has nothing of that name."""
    if not isinstance(name, str) or Path(name).name != name or Path(name).suffix or (folder / name).exists():
        return None
    path = default_models_dir() / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*64.safetensors")))
        raise ValueError(f"from_weights is {name!r}: name a .safetensors, or one of imagen-mini's: {known}")
    return path
