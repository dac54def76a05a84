"""How is all of imagen-mini made from nothing? `make train-mini`: what runs in which order, for how long, at what cost.

Every stage runs for a number of steps, not minutes, so that the same seed gives the same course on any machine. What is
finished is not done again, and a stage that was stopped goes on from its last save.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from imagen_core.whole_files import drafts

from .data import KINDS, render_pictures
from .options import TrainOptions, default_models_dir
from .run_state import STATE_FILE
from .stickers.redraw import ENCODER
from .trainables import TRAINABLES

MEASURED_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """pictures: how many of each kind are rendered; steps: how long each stage trains, in the order of training.

    The shipped things64 came this way with detours, which its card tells; nobody has walked it in one go.
    """

    pictures: dict[str, int] = field(
        default_factory=lambda: {
            **{"base64": 98_304, "base64_held_out": 4096, "base64_pairs": 4096},
            **{"things64_first": 131_072, "things64_first_held_out": 1024},
            **{"things64_crowded": 190_464, "things64_wide_held_out": 1024},
            **{"things256": 4096, "things256_held_out": 32, "things1024": 4096, "things1024_held_out": 32},
            **{"full256": 512, "window1024": 512, "textures256": 960},
        }
    )
    steps: dict[str, int] = field(
        default_factory=lambda: {
            **{"classifier": 6000, "things64_first": 8000, "things64": 8000},
            **{"sr256": 12_000, "sr1024": 8000},
        }
    )
    settings: dict[str, Any] = field(default_factory=dict)  # of a stage's own kind, where not the shipped ones

    def scaled(self, scale: float) -> Recipe:
        """The same with `scale` times as many steps (at least one); pictures stay as they are."""
        steps = {stage: max(1, round(scale * count)) for stage, count in self.steps.items()}
        return dataclasses.replace(self, steps=steps)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where and on what the recipe runs. `root` holds states and cache, `models_dir` what is finished."""

    root: Path
    models_dir: Path
    device: str = "cpu"
    workers: int = 1  # processes that render
    seed: int = 0

    @property
    def cache_dir(self) -> Path:
        return self.root / "cache"

    def options(self, stage: str, steps: int, **changes: object) -> TrainOptions:
        state = self.root / stage
        options = TrainOptions(
            state_dir=state,
            cache_dir=self.cache_dir,
            models_dir=self.models_dir,
            max_steps=steps,
            resume=(state / STATE_FILE).exists(),
            device=self.device,
            bf16=self.device.startswith("cuda") or cpu_gains_from_bf16(),
            seed=self.seed,
        )
        return dataclasses.replace(options, **changes)

    def finished(self, stage: str) -> Path:
        """The file that a stage leaves when it is done."""
        trainable = TRAINABLES[stage]
        return (self.models_dir if trainable.shipped else self.root / stage) / trainable.file


def cpu_gains_from_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices by itself (AVX-512 BF16, AMX)."""
    return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()  # bool() is False: an older torch


def best_device() -> str:
    """A GPU when there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _train(stage: str, recipe: Recipe, options: TrainOptions) -> float | None:
    """Train one stage; seconds spent stepping, or None when a signal stopped it."""
    outcome = TRAINABLES[stage].run(options, recipe.settings.get(stage))
    if outcome.figures:
        print(json.dumps(outcome.figures, indent=1))
    return None if outcome.interrupted else outcome.seconds


def left_to_render(recipe: Recipe, workshop: Workshop) -> dict[str, int]:
    """How many pictures of each kind are not in the cache yet."""
    left = {}
    for kind, count in recipe.pictures.items():
        chunk = KINDS[kind].chunk
        there = len(list((workshop.cache_dir / kind).glob("*.npy"))) * chunk
        left[kind] = max(0, -(-count // chunk) * chunk - there)
    return left


def measure(recipe: Recipe, workshop: Workshop) -> dict[str, dict[str, float]]:
    """Seconds that each unfinished part will take, from rendering one chunk a kind and stepping every network.

    {"render base64": {"rate": pictures a second, "left": pictures, "seconds": ...}, "base64": {"rate": steps a
    second, ...}, ...}. Nothing of it is kept but the rendered chunks.
    """
    costs = {}
    for kind, count in left_to_render(recipe, workshop).items():
        first = not (workshop.cache_dir / kind / "00000.npy").exists()
        began = time.monotonic()
        if first:
            render_pictures(KINDS[kind], 1, workshop.cache_dir)
        elif count:
            KINDS[kind].rendered(0)
        rate = workshop.workers * KINDS[kind].chunk / (time.monotonic() - began)
        if count:
            costs[f"render {kind}"] = {"rate": rate, "left": count, "seconds": count / rate}
    with tempfile.TemporaryDirectory() as folder:
        trial = dataclasses.replace(workshop, models_dir=Path(folder))
        shutil.copytree(workshop.models_dir / ENCODER, Path(folder) / ENCODER)
        for stage, steps in recipe.steps.items():
            if workshop.finished(stage).exists():
                continue
            options = trial.options(stage, MEASURED_STEPS, resume=False, export=False, preview_minutes=math.inf)
            options = dataclasses.replace(options, state_dir=Path(folder) / stage)
            spent = _train(stage, recipe, options)
            if spent is None:
                raise KeyboardInterrupt
            rate = MEASURED_STEPS / spent
            costs[stage] = {"rate": rate, "left": steps, "seconds": steps / rate}
    return costs


def cost_table(costs: dict[str, dict[str, float]], recipe: Recipe, device: str) -> str:
    """What `measure` found, for a person to read before anything long begins."""
    lines = [f"imagen-mini from nothing, on {device}:"]
    for name, cost in costs.items():
        if name in recipe.steps:
            trainable = TRAINABLES[name]
            seen = recipe.steps[name] * trainable.batch_size
            what = f"{cost['left']:,.0f} steps ({seen:,} {trainable.unit})"
        else:
            what = f"{cost['left']:,.0f} pictures"
        unit = "steps/s" if name in recipe.steps else "pictures/s"
        lines.append(f"  {name:28} {what:40} {cost['rate']:9.2f} {unit:11} about {_spoken(cost['seconds'])}")
    total = sum(cost["seconds"] for cost in costs.values())
    return "\n".join(
        [*lines, f"  in all about {_spoken(total)} as measured just now; stop and start again as you like"]
    )


def _spoken(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"


def run_recipe(
    recipe: Recipe, workshop: Workshop, *, dry_run: bool = False, say: Callable[[str], None] = print
) -> bool:
    """Measure, say what it costs, then render and train whatever is missing. True when everything is finished."""
    _lay_out_encoder(workshop)
    say(cost_table(measure(recipe, workshop), recipe, workshop.device))
    if dry_run:
        return False
    for kind, count in recipe.pictures.items():
        _render(kind, count, workshop)
    for stage, steps in recipe.steps.items():
        if workshop.finished(stage).exists():
            say(f"{stage}: finished before")
            continue
        say(f"{stage}: {steps:,} steps")
        if _train(stage, recipe, workshop.options(stage, steps)) is None:
            say("stopped and saved: the same command goes on from here")
            return False
    say(f"finished: {workshop.models_dir}; measure it with imagen evaluate all --models-dir {workshop.models_dir}")
    return True


def _lay_out_encoder(workshop: Workshop) -> None:
    """The text encoder is frozen: the shipped one, where the workshop has none of its own."""
    place, shipped = workshop.models_dir / ENCODER, default_models_dir() / ENCODER
    if not place.exists():
        if not shipped.is_dir():
            raise ValueError(f"there is no text encoder in {shipped}: `imagen data encoder` writes it")
        place.parent.mkdir(parents=True, exist_ok=True)
        with drafts(place.parent) as folder:
            shutil.copytree(shipped, folder / "draft").rename(place)


def _render(kind: str, count: int, workshop: Workshop) -> None:
    """Render with as many processes as the workshop has; what is in the cache is not rendered again."""
    parts = min(workshop.workers, -(-count // KINDS[kind].chunk))
    if parts <= 1:
        render_pictures(KINDS[kind], count, workshop.cache_dir)
        return
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_render_part, kind, count, workshop.cache_dir, part, parts) for part in range(parts)]
        for job in jobs:
            job.result()


def _render_part(kind: str, count: int, cache_dir: Path, part: int, parts: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    render_pictures(KINDS[kind], count, cache_dir, part=part, parts=parts)
