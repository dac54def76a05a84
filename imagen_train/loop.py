"""How does any of our networks get trained? One loop: clock, learning rate, EMA, saves, previews, a clean stop.

The loop knows nothing of pictures. A `Task` gives the loss of one step from a generator that depends on (seed, step)
alone, so a resumed run draws what the uninterrupted one would have drawn. All state is one safetensors file, replaced
atomically: nothing is ever unpickled.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from imagen_core._safetensors import opened, write_safetensors
from imagen_core.whole_files import whole

from .optim import OptimConfig, Optimizers
from .options import TrainOptions
from .parallel import average_gradients, join_workers, of_first, rank, workers
from .precision import autocast
from .sheets import write_picture

STATE_FILE = "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a task shows of a half-trained network: a picture (3 h w) in [-1,1] or None, and named figures."""

    picture: Tensor | None = None
    figures: dict[str, float] = field(default_factory=dict)


class Task(Protocol):
    """What is learned: the loss of one batch, and now and then a look at the EMA network.

    helper: weights that only the loss uses: trained and saved along, neither averaged nor exported (None: none).
    """

    batch_size: int
    helper: nn.Module | None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        """Mean loss (scalar) of one batch drawn with `generator` (CPU); `progress` of the run in [0, 1)."""

    def preview(self, model: nn.Module) -> Preview:
        """Sample from the EMA network (eval mode, no gradient)."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The shape of a run in time. `decay_start`: fraction of the run after which the rate falls linearly to zero."""

    warmup_steps: int = 100
    decay_start: float = 0.6
    ema_half_life: float = 300.0  # steps
    save_minutes: float = 2.0
    log_seconds: float = 15.0


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands; `images` and `seconds` also count earlier runs whose weights this one began from."""

    step: int = 0
    seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The averaged network (eval mode), where the run stands, and whether it was stopped by a signal."""

    model: nn.Module
    state: RunState
    interrupted: bool


def progress_of(state: RunState, options: TrainOptions) -> float:
    """Fraction of the run done, in [0, 1]: of the clock or of the steps, whichever is nearer its end."""
    of_clock = state.seconds / (60 * options.minutes) if options.minutes else 0.0
    of_steps = state.step / options.max_steps if options.max_steps else 0.0
    return min(1.0, max(of_clock, of_steps))


def rate_factor(step: int, progress: float, config: LoopConfig) -> float:
    """Learning-rate factor in [0, 1]: linear warm-up, constant, linear to zero."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * min(1.0, (1.0 - progress) / max(1e-9, 1.0 - config.decay_start))


def ema_decay(step: int, half_life: float) -> float:
    """Weight that the average keeps at `step` (from 0); early on it averages few steps."""
    return min(0.5 ** (1.0 / half_life), (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, parameter by parameter; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step, the same whether the run was interrupted or not."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


def save_state(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optim: Optimizers,
    state: RunState,
    helper: nn.Module | None = None,
) -> None:
    """Write weights, average and optimiser state as one file, atomically."""
    groups = {"model": model.state_dict(), "ema": average.state_dict(), "optim": optim.state_tensors()}
    if helper is not None:
        groups["helper"] = helper.state_dict()
    tensors = {f"{group}/{k}": v.detach().cpu().contiguous() for group, ts in groups.items() for k, v in ts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"step": state.step, "seconds": state.seconds, "images": state.images}
    with whole(folder / STATE_FILE) as draft:
        write_safetensors(draft, tensors, {"run": json.dumps(meta)})


def load_state(
    folder: Path, model: nn.Module, average: nn.Module, optim: Optimizers | None, helper: nn.Module | None = None
) -> RunState:
    """Fill the networks (and optimiser, and a helper if one was saved) from `save_state`'s file.

    What the networks have and the file lacks stays as it is, so that a run may go on with a grown network.

    ValueError: no state there, or another network's.
    """
    path = folder / STATE_FILE
    if not path.exists():
        raise ValueError(f"no training state at {path}: start without --resume, or point --state-dir at a run")
    with opened(path) as file:
        if "run" not in file.metadata:
            raise ValueError(f"{path} holds no run's state; point --state-dir at a run")
        run = json.loads(file.metadata["run"])
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optim": {}, "helper": {}}
        for name in file.shapes:
            group, key = name.split("/", 1)
            groups[group][key] = file.read(name)
    try:
        for network, saved in ((model, groups["model"]), (average, groups["ema"])):
            if unexpected := network.load_state_dict(saved, strict=False).unexpected_keys:
                raise RuntimeError(f"it also has {unexpected[:3]}")
        if helper is not None and groups["helper"]:
            helper.load_state_dict(groups["helper"])
    except RuntimeError as error:
        raise ValueError(f"{path} holds another network than this stage's: {error}; use a new --state-dir") from error
    if optim is not None:
        optim.load_state_tensors(groups["optim"])
    return RunState(**run)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT, SIGTERM or SIGHUP has asked us to stop (main thread only)."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in heeded}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Log:
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

    def step(self, loss: Tensor, images: int, state: RunState, progress: float) -> None:
        """Count one step; every `log_seconds` write the mean loss and the speed."""
        self.losses.append(loss.detach())
        self.images += images
        self.bar.update(1)
        now = time.monotonic()
        if now - self.last < self.every and progress < 1:
            return
        mean, speed = torch.stack(self.losses).mean().item(), self.images / max(1e-9, now - self.last)
        self.bar.set_postfix_str(f"loss {mean:.4f}, {speed:.1f} images/s, {progress:.0%} of the run")
        self.write({**dataclasses.asdict(state), "loss": mean, "rate": speed})
        self.losses, self.last, self.images = [], now, 0

    def preview(self, preview: Preview, state: RunState) -> None:
        """Keep a preview's picture and figures."""
        if preview.picture is not None:
            write_picture(self.options.state_dir / f"preview_{state.step:07d}.png", preview.picture)
        if preview.figures:
            self.write({"step": state.step, "images": state.images, **preview.figures})
            tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in preview.figures.items()))

    def write(self, record: dict[str, float]) -> None:
        if self.silent:
            return
        with open(self.options.state_dir / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def train(
    model: nn.Module,
    task: Task,
    options: TrainOptions,
    *,
    optim: OptimConfig | None = None,
    config: LoopConfig | None = None,
    start: RunState | None = None,
) -> TrainResult:
    """Train `model` on `task` until the clock, the step limit or a signal says stop; save; return the EMA network.

    `start` carries the images counted by an earlier run whose weights `model` already has.
    Source: EMA and previews as in every diffusion trainer; schedule: warm-up, constant, linear to zero (WSD).
    """
    config = config or LoopConfig()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # gradients of a trained network fade into denormals: 4 times slower on AVX-512
    join_workers(options.device)
    run = _Run(model, task, options, optim or OptimConfig(), config, start or RunState())
    with stop_signals() as asked:
        interrupted = run.until_done(asked)
    return TrainResult(model=run.average, state=run.state, interrupted=interrupted)


class _Run:
    """One run's parts: network, its average, optimisers, clock, log."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        options: TrainOptions,
        optim: OptimConfig,
        config: LoopConfig,
        start: RunState,
    ):
        self.model = model.to(options.device, memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.helper = task.helper.to(options.device).train() if task.helper is not None else None
        self.learning = nn.ModuleList(module for module in (model, self.helper) if module is not None)
        self.optimizers = Optimizers(self.learning, optim, bf16=options.bf16)
        self.task, self.options, self.config, self.state = task, options, config, start
        if options.resume:
            self.state = load_state(options.state_dir, model, self.average, self.optimizers, self.helper)
        self.runner = torch.compile(model) if options.compile else model
        self.log = _Log(options, config, self.state)

    def until_done(self, asked: Callable[[], bool]) -> bool:
        """Step until a limit or a signal; always saves at the end. True when a signal ended it."""
        began = time.monotonic() - self.state.seconds
        saved = shown = time.monotonic()
        batch = self.task.batch_size * workers()
        while True:
            progress, stop = of_first(progress_of(self.state, self.options), asked())
            if progress >= 1 or stop:
                break
            loss = self._step(progress)
            seconds, images = time.monotonic() - began, self.state.images + batch
            self.state = RunState(step=self.state.step + 1, seconds=seconds, images=images)
            self.log.step(loss, batch, self.state, progress_of(self.state, self.options))
            if time.monotonic() - saved > 60 * self.config.save_minutes:
                self._save()
                saved = time.monotonic()
            if time.monotonic() - shown > 60 * self.options.preview_minutes:
                self._preview()
                shown = time.monotonic()
        self._save()
        if not stop and math.isfinite(self.options.preview_minutes):
            self._preview()
        self.log.bar.close()
        return bool(stop)

    def _step(self, progress: float) -> Tensor:
        """One optimiser step; returns the loss."""
        step, options = self.state.step, self.options
        generator = step_generator(options.seed + 1000 * rank(), step)
        with autocast(options.device, bf16=options.bf16):
            loss = self.task.loss(self.runner, generator, progress)
        loss.backward()
        average_gradients(self.learning)
        self.optimizers.step(options.rate * rate_factor(step, progress, self.config))
        self.optimizers.zero_grad()
        update_ema(self.average, self.model, ema_decay(step, self.config.ema_half_life))
        return loss

    def _save(self) -> None:
        if rank() == 0:
            save_state(self.options.state_dir, self.model, self.average, self.optimizers, self.state, self.helper)

    def _preview(self) -> None:
        if rank() != 0:
            return
        with torch.no_grad():
            self.log.preview(self.task.preview(self.average), self.state)
