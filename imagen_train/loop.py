"""How does any of our networks get trained? One loop: clock, learning rate, EMA, saves, previews, a clean stop.

The loop knows nothing of pictures. A `Task` gives the loss of one step from a generator that depends on (seed, step)
alone, so a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from imagen_core.half_precision import warn_where_imitated

from .checkpointing import checkpoint_blocks
from .course import LoopConfig, ema_decay, progress_of, rate_factor
from .optim import OptimConfig, Optimizers
from .options import TrainOptions
from .parallel import average_gradients, join_workers, of_first, rank, workers
from .precision import autocast
from .run_log import Preview, RunLog
from .run_state import RunState, load_optimizers, load_state, save_state
from .sharding import all_finite, check_sharable, put_together, shard, shares, without_weights


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


@runtime_checkable
class NamesItsBatch(Protocol):
    """A task that can say what its last batch was, for the error that stops a run."""

    def last_batch(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The averaged network (eval mode), where the run stands, and whether it was stopped by a signal.

    model is None where the network was kept in shares and this is not the first process.
    """

    model: nn.Module | None
    state: RunState
    interrupted: bool


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, parameter by parameter; buffers are copied."""
    torch._foreach_lerp_(shares(average.parameters()), shares(model.parameters()), 1.0 - decay)
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step, the same whether the run was interrupted or not."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


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
    join_workers(options.device, shard=options.shard)
    if options.bf16 and rank() == 0:
        warn_where_imitated(torch.bfloat16, options.device)
    run = _Run(model, task, options, optim or OptimConfig(), config, start or RunState())
    with stop_signals() as asked:
        interrupted = run.until_done(asked)
    return TrainResult(model=run.whole_average(), state=run.state, interrupted=interrupted)


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
        self.task, self.options, self.config, self.state = task, options, config, start
        if options.resume:
            self.state = load_state(options.state_dir, model, self.average, self.helper)
        self.empty = self._share_out(optim.name) if options.shard and workers() > 1 else None
        self.learning = nn.ModuleList(module for module in (model, self.helper) if module is not None)
        self.optimizers = Optimizers(self.learning, optim, bf16=options.bf16)
        if options.resume:
            load_optimizers(options.state_dir, self.optimizers)
        self.batches: list[str] = []
        if options.checkpointing:
            checkpoint_blocks(model)
        self.runner = torch.compile(model) if options.compile else model
        self.log = RunLog(options, config, self.state)

    def _share_out(self, name: str) -> nn.Module:
        """Keep a share of the network and of its average; returns what the average is put together into at the end.

        ValueError: what knows nothing of shares.
        """
        check_sharable(compiled=self.options.compile, optimiser=name, taught=self.helper is not None)
        empty = without_weights(self.average)
        for network in (self.average, self.model):
            shard(network, self.options.device)
        return empty

    def whole_average(self) -> nn.Module | None:
        """The averaged network; of one that is kept in shares the first process gets it, and the others None."""
        return self.average if self.empty is None else put_together(self.average, self.empty)

    def until_done(self, asked: Callable[[], bool]) -> bool:
        """Step until a limit or a signal; always saves at the end. True when a signal ended it."""
        began = time.monotonic() - self.state.seconds
        saved = shown = time.monotonic()
        batch = self.task.batch_size * workers() * self.options.accumulate
        while True:
            progress, stop = of_first(progress_of(self.state, self.options), asked())
            if progress >= 1 or stop:
                break
            loss = self._step(progress)
            seconds, images = time.monotonic() - began, self.state.images + batch
            self.state = RunState(step=self.state.step + 1, seconds=seconds, images=images)
            self.log.step(loss, batch, self.state, progress_of(self.state, self.options))
            now = time.monotonic()
            save, show = of_first(
                now - saved > 60 * self.config.save_minutes, now - shown > 60 * self.options.preview_minutes
            )
            if save:
                self._save()
                saved = time.monotonic()
            if show:
                self._preview()
                shown = time.monotonic()
        self._save()
        if not stop and math.isfinite(self.options.preview_minutes):
            self._preview()
        self.log.close()
        return bool(stop)

    def _step(self, progress: float) -> Tensor:
        """One optimiser step; returns the loss."""
        step, options = self.state.step, self.options
        loss = torch.stack([self._backward(step * options.accumulate + i, progress) for i in range(options.accumulate)])
        average_gradients(self.learning)
        self._check_finite(step)
        self.optimizers.step(options.rate * rate_factor(step, progress, self.config))
        self.optimizers.zero_grad()
        update_ema(self.average, self.model, ema_decay(step, self.config.ema_half_life))
        return loss.mean()

    def _backward(self, draw: int, progress: float) -> Tensor:
        """Add the gradient of batch `draw`, as its part of those that make one step; returns its loss."""
        options = self.options
        with autocast(options.device, bf16=options.bf16):
            loss = self.task.loss(self.runner, step_generator(options.seed + 1000 * rank(), draw), progress)
        (loss if options.accumulate == 1 else loss / options.accumulate).backward()
        self.batches = [*self.batches, self.task.last_batch()] if isinstance(self.task, NamesItsBatch) else []
        return loss.detach()

    def _check_finite(self, step: int) -> None:
        """Before a bad gradient reaches the weights: save them as they are, and say which pictures it came from."""
        finite = all_finite([p.grad for p in self.learning.parameters() if p.grad is not None])
        batches, self.batches = self.batches, []
        if finite:
            return
        self._save()
        shown = "; ".join(batches) or "not named by this task"
        raise ValueError(
            f"step {step} of {self.options.state_dir} has a gradient that is not a number, from this batch: {shown}."
            " The weights before it are saved: lower the learning rate or leave these pictures out, and resume"
        )

    def _save(self) -> None:
        if rank() == 0 or self.empty is not None:
            save_state(self.options.state_dir, self.model, self.average, self.optimizers, self.state, self.helper)

    def _preview(self) -> None:
        network = self.whole_average()
        if rank() == 0:
            with torch.no_grad():
                self.log.preview(self.task.preview(network), self.state)
