"""What is seen of a run? A progress bar, log.jsonl, preview pictures, and TensorBoard where it is asked for."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .course import LoopConfig
from .options import TrainOptions
from .parallel import rank
from .run_state import RunState
from .sheets import write_picture

LOG_FILE = "log.jsonl"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a task shows of a half-trained network: a picture (3 h w) in [-1,1] or None, and named figures."""

    picture: Tensor | None = None
    figures: dict[str, float] = field(default_factory=dict)


class RunLog:
    """Progress bar, log.jsonl and preview pictures of one run."""

    def __init__(self, options: TrainOptions, config: LoopConfig, state: RunState):
        options.state_dir.mkdir(parents=True, exist_ok=True)
        self.options, self.every = options, config.log_seconds
        self.silent = rank() != 0
        self.bar = tqdm(
            total=options.max_steps,
            initial=state.step,
            unit="step",
            mininterval=5.0,
            dynamic_ncols=True,
            disable=self.silent,
        )
        self.losses: list[Tensor] = []
        self.last = time.monotonic()
        self.images = 0
        self.board = _board(options, state) if options.tensorboard and not self.silent else None

    def step(self, loss: Tensor, images: int, state: RunState, progress: float) -> None:
        """Count one step; every `log_seconds` write the mean loss and the speed."""
        self.losses.append(loss.detach())
        self.images += images
        self.bar.update(1)
        now = time.monotonic()
        if now - self.last < self.every and progress < 1:
            return
        mean, speed = torch.stack(self.losses).mean().item(), self.images / max(1e-9, now - self.last)
        self.bar.set_postfix_str(f"loss {mean:.4f}, {speed:.1f} images/s, {told(state.seconds, progress)}")
        self.write({**dataclasses.asdict(state), "loss": mean, "rate": speed})
        self.losses, self.last, self.images = [], now, 0

    def preview(self, preview: Preview, state: RunState) -> None:
        """Keep a preview's picture and figures."""
        if preview.picture is not None:
            write_picture(self.options.state_dir / f"preview_{state.step:07d}.png", preview.picture)
            if self.board is not None:
                self.board.add_image("preview", (preview.picture.clamp(-1, 1) + 1) / 2, state.step)
        if preview.figures:
            self.write({"step": state.step, "images": state.images, **preview.figures})
            tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in preview.figures.items()))

    def write(self, record: dict[str, float]) -> None:
        if self.silent:
            return
        with open(self.options.state_dir / LOG_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self.board is not None:
            for name in record.keys() - {"step"}:
                self.board.add_scalar(name, record[name], record["step"])

    def close(self) -> None:
        self.bar.close()
        if self.board is not None:
            self.board.close()


def told(seconds: float, progress: float) -> str:
    """How far a run is, and how long the rest takes if it goes on as so far."""
    left = seconds * (1 - progress) / progress if progress else 0.0
    return (
        f"{progress:.0%} of the run, {left / 60:.0f} min left" if left >= 90 else f"{progress:.0%}, {left:.0f} s left"
    )


def _board(options: TrainOptions, state: RunState) -> Any:
    """TensorBoard's writer; what a killed run wrote beyond its last save is taken back. ValueError without the library."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ValueError("writing for TensorBoard needs its library: pip install '.[board]'") from error
    return SummaryWriter(str(options.state_dir), purge_step=state.step)
