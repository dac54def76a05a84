"""Do samplers keep their promises? Counting, repeating, stopping and keeping every image of a batch to itself."""

import pytest
import torch

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.noise import BatchNoise
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS, SPACINGS, time_grid
from imagen_core.samplers.ddim import DDIM
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m_sde import DPMPP2MSDE
from imagen_core.schedules import SCHEDULES
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.thresholding.dynamic import DynamicThresholding

SHAPE = (3, 8, 8)


class Network(torch.nn.Module):
    """A small real network that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.outer = torch.nn.Conv2d(8, 3, 3, padding=1)
        self.calls = 0

    def forward(self, x_t, time, conditioning):
        self.calls += 1
        return self.outer(torch.nn.functional.silu(self.inner(x_t) + time.reshape(-1, 1, 1, 1) / 1000))


@torch.inference_mode()
def draw(sampler, seeds, *, schedule=None, calls=9, callback=None, network=None):
    schedule, noise = schedule or CosineSchedule(), BatchNoise(seeds)
    denoise = Denoiser(
        Predictor(network=network or Network(), schedule=schedule, prediction_type="v"),
        {"cond": Signals(), "null": Signals()},
        guidance=ClassifierFreeGuidance(scale=3.0),
        thresholding=DynamicThresholding(),
    )
    times = sampler.times(schedule, calls)
    return sampler.sample(denoise, noise(SHAPE), times, noise=lambda: noise(SHAPE), callback=callback)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", [schedule() for schedule in SCHEDULES.values()], ids=repr)
def test_same_seeds_same_picture_in_range(name, schedule):
    first, second = (draw(SAMPLERS[name](), [1, 2], schedule=schedule) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (2, *SHAPE)
    assert first.abs().max() <= 1.0
    assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_alone_equals_it_in_a_batch(name):
    batch = draw(SAMPLERS[name](), [5, 6, 7])
    for i, seed in enumerate([5, 6, 7]):
        torch.testing.assert_close(draw(SAMPLERS[name](), [seed]), batch[i : i + 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("calls", [1, 2, 9, 10])
def test_callback_counts_every_call_of_the_network(name, calls):
    network, seen = Network(), []
    x_0 = draw(
        SAMPLERS[name](),
        [1],
        calls=calls,
        network=network,
        callback=lambda call, total, prediction: seen.append((call, total, prediction, network.calls)),
    )
    spent = network.calls
    assert spent in ((calls, calls - 1) if name == "heun" and calls % 2 == 0 else (calls,))
    assert [(call, total, made) for call, total, _, made in seen] == [(i, spent, i) for i in range(1, spent + 1)]
    assert torch.equal(seen[-1][2].x_0, x_0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_callback_may_stop_the_run(name):
    network = Network()

    def stop(call, total, prediction):
        if call == 4:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        draw(SAMPLERS[name](), [1], callback=stop, network=network)
    assert network.calls == 4


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("times", [[], [0.5, 0.5], [0.2, 0.9], [[0.9, 0.2]]])
def test_times_must_decrease(name, times):
    with pytest.raises(ValueError, match="strictly decreases"):
        draw_on = SAMPLERS[name]()
        denoise = type("Never", (), {"schedule": CosineSchedule()})()
        draw_on.sample(denoise, torch.zeros(1, *SHAPE), torch.tensor(times), noise=lambda: None)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("schedule", [schedule() for schedule in SCHEDULES.values()], ids=repr)
@pytest.mark.parametrize("calls", [1, 2, 3, 20, 250])
def test_grids_decrease_within_the_schedule(spacing, schedule, calls):
    times = time_grid(schedule, calls, spacing)
    assert times.shape == (calls,)
    assert times.dtype == torch.float64
    assert (times.diff() < 0).all()
    assert times.min() >= 0
    assert 0.99 < times[0] <= 1


def test_grids_are_spaced_as_they_say():
    schedule = CosineSchedule()
    assert time_grid(schedule, 4, "uniform").tolist() == [1.0, 0.75, 0.5, 0.25]
    steps = schedule.logsnr(time_grid(schedule, 20, "logsnr")).diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 1.0))  # 19 steps from -10 to 9
    sigma_ve = torch.exp(-0.5 * schedule.logsnr(time_grid(schedule, 20, "karras")))
    steps = (sigma_ve ** (1 / 7)).diff()
    torch.testing.assert_close(steps, steps.mean().expand_as(steps))


def test_uniform_grid_of_a_discrete_schedule_is_improved_ddpms_respacing():
    timesteps = time_grid(DiscreteSchedule(), 27, "uniform") * 999
    # But for a tie: the published procedure adds its steps up in floating point, and comes to 499.49...
    torch.testing.assert_close(timesteps, torch.linspace(999, 0, 27).double().round(), rtol=0, atol=1)
    assert timesteps[13].round().item() == 499


def test_grid_errors():
    with pytest.raises(ValueError, match="uniform, logsnr, karras"):
        time_grid(CosineSchedule(), 10, "quadratic")
    for name in SAMPLERS:
        with pytest.raises(ValueError, match="at least 1"):
            SAMPLERS[name]().times(CosineSchedule(), 0)


def test_bad_settings_are_refused():
    for make in (lambda: DDIM(eta=1.5), lambda: DDPM(gamma=-0.1), lambda: DPMPP2MSDE(eta=-1.0)):
        with pytest.raises(ValueError, match="eta|gamma"):
            make()
