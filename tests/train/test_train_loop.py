"""Does the training loop keep its promises? Limits, signals, resume, EMA, learning rate, optimiser."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from imagen_core.conditioning import TextEmbeds
from imagen_core.losses import WEIGHTINGS
from imagen_core.unets import build_unet
from imagen_train.checkpointing import checkpoint_blocks
from imagen_train.loop import LoopConfig, Preview, RunState, ema_decay, load_state, rate_factor, train, update_ema
from imagen_train.optim import OPTIMISERS, OptimConfig, Optimizers, orthogonalize, split_parameters
from imagen_train.options import TrainOptions
from imagen_train.plans import base64_plan
from imagen_train.run_log import told


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
    assert load_state(tmp_path, _net(), _net()) == result.state
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


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_learns_and_goes_on_bit_for_bit(name, tmp_path):
    optim = OptimConfig(name=name, adamw_lr=0.1 if name == "adafactor" else 0.02)  # relative to the weights
    whole = train(_net(), Regression(), _options(tmp_path / "a", max_steps=60), optim=optim)
    train(_net(), Regression(stop_at=25), _options(tmp_path / "b", max_steps=60), optim=optim)
    rest = train(_net(), Regression(), _options(tmp_path / "b", max_steps=60, resume=True), optim=optim)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    assert (whole.model(x) - x.flip(1)).square().mean() < 0.7 * x.square().mean()
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True))
    with pytest.raises(ValueError, match="unknown optimiser"):
        OptimConfig(name=name + "x")


def test_accumulated_batches_move_the_weights_as_their_mean_does(tmp_path):
    class Recorded(Regression):
        def loss(self, model, generator, progress):
            loss = super().loss(model, generator, progress)
            self.grads.append(torch.autograd.grad(loss, model[0].weight, retain_graph=True)[0])
            return loss

    task, net = Recorded(), nn.Sequential(nn.Linear(4, 4))
    task.grads = []
    before = net[0].weight.detach().clone()
    optim = OptimConfig(name="adamw", adamw_lr=0.1, adamw_betas=(0.0, 0.0), clip_norm=1e9)
    config = LoopConfig(warmup_steps=0, decay_start=1.0)
    result = train(net, task, _options(tmp_path, max_steps=1, accumulate=3), optim=optim, config=config)
    mean = torch.stack(task.grads).mean(0)
    assert len(task.grads) == 3 and result.state.images == 24
    torch.testing.assert_close(before - net[0].weight, 0.1 * mean / (mean.abs() + 1e-8))  # Adam's first step


def test_a_gradient_that_is_no_number_stops_the_run_and_names_the_batch(tmp_path):
    class Poisoned(Regression):
        def loss(self, model, generator, progress):
            return super().loss(model, generator, progress) * (math.nan if self.calls == 4 else 1.0)

        def last_batch(self) -> str:
            return f"picture {self.calls}"

    net = _net()
    with pytest.raises(ValueError, match="step 3 .* not a number, from this batch: picture 4. .* resume"):
        train(net, Poisoned(), _options(tmp_path))
    saved = _net()
    assert load_state(tmp_path, saved, _net()).step == 3
    assert all(
        torch.equal(a, b) and a.isfinite().all() for a, b in zip(saved.parameters(), net.parameters(), strict=True)
    )


def test_checkpointed_blocks_give_the_same_gradient():
    torch.manual_seed(0)
    small = {"channels": 16, "width": 32, "depth": 3, "per_head_channels": 16, "time_embed_dim": 32}
    plain = build_unet(dataclasses.replace(base64_plan(32).unet, **small, pooling_queries=2)).train()
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(0.05 * torch.randn_like(p))  # no branch at zero
    wrapped = copy.deepcopy(plain)
    assert checkpoint_blocks(wrapped) >= 3 and wrapped.state_dict().keys() == plain.state_dict().keys()
    x, time, text = torch.randn(2, 3, 16, 16), torch.tensor([100.0, 900.0]), torch.randn(2, 5, 32)
    for network in (plain, wrapped):
        cond = network.encode_text(TextEmbeds(embeds=text, mask=torch.ones(2, 5, dtype=torch.bool)))
        network(x, time, cond).square().mean().backward()
    for a, b in zip(plain.parameters(), wrapped.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_each_weighting_is_the_error_that_its_name_says():
    generator = torch.Generator().manual_seed(0)
    x_0, noise, wrong = torch.randn(3, 64, generator=generator, dtype=torch.float64)
    alpha, sigma = torch.tensor(0.6).double(), torch.tensor(0.8).double()
    x_t = alpha * x_0 + sigma * noise
    guess = x_0 + 0.1 * wrong
    eps = (x_t - alpha * guess) / sigma
    error = {
        "x_0": guess - x_0,
        "eps": eps - noise,
        "v": (alpha * eps - sigma * guess) - (alpha * noise - sigma * x_0),
        "flow": (eps - guess) - (noise - x_0),
    }
    for name, difference in error.items():
        weighted = WEIGHTINGS[name](alpha, sigma, 5.0) * (guess - x_0).square()
        torch.testing.assert_close(weighted, difference.square())
    snr = (alpha / sigma) ** 2
    assert WEIGHTINGS["min_snr"](alpha, sigma, 5.0) == snr and WEIGHTINGS["min_snr"](alpha, sigma, 0.25) == 0.25


def test_half_a_cosine_falls_to_zero():
    config = LoopConfig(warmup_steps=0, decay_start=0.5, decay="cosine")
    shape = [rate_factor(9, progress, config) for progress in (0.2, 0.5, 0.75, 1.0)]
    assert shape == pytest.approx([1.0, 1.0, 0.5, 0.0])
    with pytest.raises(ValueError, match="expected one of linear, cosine"):
        LoopConfig(decay="sine")


def test_the_time_that_is_left_is_told():
    assert told(600.0, 0.25) == "25% of the run, 30 min left" and told(60.0, 0.75) == "75%, 20 s left"


def test_tensorboard_gets_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(_net(), Regression(), _options(tmp_path, max_steps=3, tensorboard=True))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss", "rate", "weight"} <= set(events.Tags()["scalars"]) and events.Tags()["images"] == ["preview"]
