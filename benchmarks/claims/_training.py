"""How are small networks trained for as many CPU seconds each? In turns, by the pack's optimisers and loss.

CPU seconds of this process, not the clock's, and always a step of whichever network has had the fewest: a busy machine
changes how long one waits, and slows all alike. What is measured between steps is not counted.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from imagen_train.course import LoopConfig, ema_decay, rate_factor
from imagen_train.loop import step_generator, update_ema
from imagen_train.optim import OptimConfig, Optimizers

OPTIM = OptimConfig(muon_lr=0.01, adamw_lr=1e-3, newton_schulz_steps=4)
COURSE = LoopConfig(warmup_steps=30, decay_start=0.4, ema_half_life=30.0)
Loss = Callable[[nn.Module, torch.Generator], Tensor]


class Run:
    """A network on its way: its average, its optimisers, the CPU seconds and steps it has had, and a curve.

    loss: of one batch, drawn with a generator that depends on seed and step alone. watched: of the average, at the shares
    `watch_at` of `seconds`, as (CPU seconds, steps, figure) in `curve`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        *,
        seconds: float,
        seed: int,
        bf16: bool = True,
        watched: Callable[[nn.Module], float] | None = None,
        watch_at: Sequence[float] = (),
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizers = Optimizers(self.network, OPTIM, bf16=bf16)
        self.loss, self.seconds, self.seed, self.bf16, self.watched = loss, seconds, seed, bf16, watched
        self.due = [share * seconds for share in sorted(watch_at)]
        self.spent, self.steps = 0.0, 0
        self.curve: list[tuple[float, int, float]] = []

    @property
    def done(self) -> bool:
        return self.spent >= self.seconds

    def step(self) -> None:
        """One step; the rate falls to zero at the end of `seconds`."""
        began = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            value = self.loss(self.network, step_generator(self.seed, self.steps))
        value.backward()
        self.optimizers.step(rate_factor(self.steps, min(1.0, self.spent / self.seconds), COURSE))
        self.optimizers.zero_grad()
        update_ema(self.average, self.network, ema_decay(self.steps, COURSE.ema_half_life))
        self.spent, self.steps = self.spent + time.process_time() - began, self.steps + 1
        if self.due and self.spent >= self.due[0]:
            self.due = [each for each in self.due if each > self.spent]
            self.curve.append((round(self.spent, 1), self.steps, self.watched(self.average)))


def in_turns(runs: Mapping[str, Run]) -> None:
    """Train all of them to their ends."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    said = 0
    while left := [run for run in runs.values() if not run.done]:
        min(left, key=lambda run: run.spent / run.seconds).step()
        part = int(10 * min(run.spent / run.seconds for run in runs.values()))
        if part > said:
            said = part
            steps = ", ".join(f"{name} {run.steps}" for name, run in runs.items())
            print(f"{10 * part} % of the time, steps: {steps}", file=sys.stderr, flush=True)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
