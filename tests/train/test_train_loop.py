"""Does the training loop keep its promises? Limits, signals, resume, EMA, learning rate, optimiser."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from imagen_train.loop import LoopConfig, Preview, RunState, ema_decay, load_state, rate_factor, train, update_ema
from imagen_train.optim import OptimConfig, Optimizers, orthogonalize, split_parameters
from imagen_train.options import TrainOptions


class Regression:
    """Learn a fixed linear map; `stop_at` sends this process a signal at that step."""

    batch_size = 8
    helper = None

    def __init__(self, stop_at: int | None = None, number: int = signal.SIGINT):
        self.stop_at, self.number, self.calls = stop_at, number, 0

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), self.number)
        x = torch.randn(8, 4, generator=generator)
        return (model(x) - x.flip(1)).square().mean()

    def preview(self, model: nn.Module) -> Preview:
        return Preview(picture=torch.zeros(3, 2, 2), figures={"weight": model[0].weight.norm().item()})


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 4))


def _options(folder: Path, **changes) -> TrainOptions:
    base = TrainOptions(state_dir=folder, cache_dir=folder, models_dir=folder, max_steps=20)
    return dataclasses.replace(base, **changes)


def test_it_learns_and_writes_what_it_promised(tmp_path):
    result = train(_net(), Regression(), _options(tmp_path, max_steps=150))
    assert result.state.step == 150 and result.state.images == 1200 and not result.interrupted
    x = torch.randn(64, 4)
    assert (result.model(x) - x.flip(1)).square().mean() < 0.3 * x.square().mean()
    assert (tmp_path / "state.safetensors").exists() and not list(tmp_path.glob(".*"))
    assert (tmp_path / "preview_0000150.png").exists()
    assert any("loss" in json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_resume_equals_the_uninterrupted_run(tmp_path):
    whole = train(_net(), Regression(), _options(tmp_path / "a", max_steps=12))
    part = train(_net(), Regression(stop_at=5), _options(tmp_path / "b", max_steps=12))
    assert part.interrupted and part.state.step == 5
    rest = train(_net(), Regression(), _options(tmp_path / "b", max_steps=12, resume=True))
    for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_then_stops_and_gives_the_handler_back(tmp_path, number):
    before = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)  # a test run under nohup ignores SIGHUP
    result = train(_net(), Regression(stop_at=3, number=number), _options(tmp_path))
    assert result.interrupted and result.state.step == 3
    assert load_state(tmp_path, _net(), _net(), None) == result.state
    assert signal.getsignal(number) is signal.default_int_handler
    signal.signal(number, before)


def test_the_clock_stops_a_run(tmp_path):
    limit = _options(tmp_path, max_steps=None, minutes=1e-4)
    result = train(_net(), Regression(), limit)
    assert result.state.step >= 1 and result.state.seconds >= 60 * limit.minutes and not result.interrupted
    again = train(_net(), Regression(), dataclasses.replace(limit, resume=True))  # its time is up before a step
    assert again.state == result.state


def test_a_run_without_an_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--minutes"):
        _options(tmp_path, max_steps=None)


def test_resume_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no training state"):
        train(_net(), Regression(), _options(tmp_path, resume=True))
    train(_net(), Regression(), _options(tmp_path, max_steps=1))
    with pytest.raises(ValueError, match="another network"):
        train(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)), Regression(), _options(tmp_path, resume=True))


def test_a_new_run_carries_on_the_count_of_images(tmp_path):
    result = train(_net(), Regression(), _options(tmp_path, max_steps=2), start=RunState(images=100))
    assert result.state.images == 116


def test_rate_warms_up_stays_and_falls_to_zero():
    config = LoopConfig(warmup_steps=10, decay_start=0.5)
    assert rate_factor(0, 0.0, config) == pytest.approx(0.1)
    assert rate_factor(50, 0.5, config) == 1.0
    assert rate_factor(50, 0.75, config) == pytest.approx(0.5)
    assert rate_factor(50, 1.0, config) == 0.0


def test_ema_closed_form():
    average, model = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(average.weight, 0.0)
    nn.init.constant_(model.weight, 1.0)
    with torch.no_grad():
        for _ in range(7):
            update_ema(average, model, 0.9)
    assert average.weight.item() == pytest.approx(1 - 0.9**7, rel=1e-5)
    assert ema_decay(10**6, 100.0) ** 100 == pytest.approx(0.5)
    assert ema_decay(0, 100.0) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 16, 16)])
def test_newton_schulz_brings_singular_values_near_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape) * 7))
    assert values.min() > 0.5 and values.max() < 1.3


def test_matrices_go_to_muon_and_tables_biases_and_depthwise_weights_do_not():
    net = nn.ModuleDict(
        {"e": nn.Embedding(5, 4), "l": nn.Linear(4, 4), "c": nn.Conv2d(4, 4, 3), "d": nn.Conv2d(4, 4, 3, groups=4)}
    )
    matrices, rest = split_parameters(net)
    assert {id(p) for p in matrices} == {id(net["l"].weight), id(net["c"].weight)}
    assert len(matrices) + len(rest) == len(list(net.parameters()))


def test_muon_step_has_the_length_of_its_rate():
    net = nn.Linear(8, 8, bias=False)
    before = net.weight.detach().clone()
    optimizers = Optimizers(net, OptimConfig(muon_lr=0.02))
    net(torch.randn(32, 8)).square().sum().backward()
    optimizers.step(0.5)
    values = torch.linalg.svdvals(before - net.weight)
    assert values.max() < 0.02 * 0.5 * 1.3
    assert all(not k.endswith("closure") for k in optimizers.state_tensors())
