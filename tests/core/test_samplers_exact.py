"""Do samplers draw from the right distribution, their error falling at their order? Oracle: a Gaussian mixture."""

import pytest
import torch
from gaussian_mixture import GaussianMixture, MixtureDenoiser

from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.samplers import SAMPLERS, time_grid
from imagen_core.samplers.ddim import DDIM, ddim_invert
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.samplers.dpmpp_2m_sde import DPMPP2MSDE
from imagen_core.schedules import SCHEDULES
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.thresholding.dynamic import DynamicThresholding

COUNT = 4000
CALLS = {"ddpm": 200, "ddim": 200, "dpmpp_2m": 40, "dpmpp_2m_sde": 80, "heun": 61}
MODES = torch.tensor([[0.8, 0.1], [-0.6, 0.5], [-0.2, -0.7]], dtype=torch.float64).reshape(3, 2, 1, 1)
FLAT = GaussianMixture(MODES, 0.15, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


def smooth_modes(count: int) -> torch.Tensor:
    """Blurred 8x8 colour pictures: (count 3 8 8) float64."""
    coarse = 0.35 * torch.randn(count, 3, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    return torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=True).clamp(-0.95, 0.95)


def draws(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


def typical_error(x_0: torch.Tensor, exact: torch.Tensor) -> float:
    """RMSE of the median image: one that ends in another mode was a coin toss at the start, and no measure."""
    return (x_0 - exact).square().mean((1, 2, 3)).sqrt().median().item()


def assert_within_three_sigma(x_0: torch.Tensor, mixture: GaussianMixture) -> None:
    """Mean, covariance and mode shares of samples against the mixture's, each entry by its own sampling error."""
    points, count = x_0.flatten(1), len(x_0)
    mean, covariance = mixture.mean(), mixture.covariance()
    assert ((points.mean(0) - mean).abs() < 3 * (covariance.diagonal() / count).sqrt()).all()
    products = torch.einsum("bd,be->bde", points - mean, points - mean)
    assert ((products.mean(0) - covariance).abs() < 3 * products.std(0) / count**0.5).all()
    shares, weights = mixture.shares(x_0), mixture.weights
    assert ((shares - weights).abs() < 3 * (weights * (1 - weights) / count).sqrt()).all()


SOLVERS = [name for name, sampler in SAMPLERS.items() if sampler.solves]


@pytest.mark.parametrize("schedule", [schedule() for schedule in SCHEDULES.values()], ids=repr)
@pytest.mark.parametrize("name", SOLVERS)
def test_draws_from_the_mixture(name, schedule):
    sampler, noise = SAMPLERS[name](), draws(COUNT, 2, 1, 1, seed=5)
    times = sampler.times(schedule, CALLS.get(name, 200))
    x_0 = sampler.sample(MixtureDenoiser(schedule, FLAT), noise(), times, noise=noise)
    assert_within_three_sigma(x_0, FLAT)


@pytest.mark.parametrize("sampler", [DDPM(gamma=0.3), DDPM(gamma=1.0), DDIM(eta=1.0), DPMPP2MSDE(eta=0.5)], ids=repr)
def test_draws_from_the_mixture_with_other_noise(sampler):
    schedule, noise = CosineSchedule(), draws(COUNT, 2, 1, 1, seed=1)
    times = sampler.times(schedule, 200)
    assert_within_three_sigma(sampler.sample(MixtureDenoiser(schedule, FLAT), noise(), times, noise=noise), FLAT)


# Order of the error of the variance of what is drawn, data being one Gaussian.
ORDERS = {"ddpm": 1, "ddim": 1, "dpmpp_2m": 2, "dpmpp_2m_sde": 2, "heun": 2}


def drawn_variance(sampler, steps: int) -> float:
    """The variance of what a sampler draws from Gaussian data, without a sampling error.

    Everything is linear there, so each source of noise gets an image of its own, and their squares add up.
    """
    schedule = CosineSchedule()
    times = time_grid(schedule, steps + 1, "logsnr")
    sources = torch.eye(steps + 1, dtype=torch.float64).reshape(steps + 1, steps + 1, 1, 1, 1)
    data = GaussianMixture(torch.zeros(1, 1, 1, 1, dtype=torch.float64), 0.5)
    following = iter(sources[1:])
    x_0 = sampler.sample(MixtureDenoiser(schedule, data), sources[0], times, noise=lambda: next(following))
    return x_0.square().sum().item()


@pytest.mark.parametrize("name", SOLVERS)
def test_error_falls_at_its_order(name):
    sampler = SAMPLERS[name]()
    coarse, middle, fine = (drawn_variance(sampler, steps) for steps in (100, 200, 400))
    ratio = (coarse - middle) / (middle - fine)
    assert ratio == pytest.approx(2.0 ** ORDERS.get(name, 1), rel=0.15)
    assert fine == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "heun"])
def test_path_error_falls_at_its_order(name):
    """As above, on single paths through a mixture, where nothing is linear."""
    schedule, sampler = CosineSchedule(), SAMPLERS[name]()
    x_T = draws(16, 2, 1, 1)()

    def end(steps: int) -> torch.Tensor:
        times = time_grid(schedule, steps + 1, "logsnr")
        return sampler.sample(MixtureDenoiser(schedule, FLAT), x_T, times, noise=lambda: x_T)

    coarse, middle, fine = end(100), end(200), end(400)
    ratio = ((coarse - middle).norm() / (middle - fine).norm()).item()
    assert ratio == pytest.approx(2.0 ** ORDERS[name], rel=0.2)


@pytest.mark.parametrize(
    ("scale", "thresholding"), [(1.0, None), (7.5, DynamicThresholding())], ids=["plain", "guided and thresholded"]
)
@pytest.mark.parametrize("std", [0.05, 0.1])
def test_dpmpp_2m_at_21_calls_is_as_exact_as_ddim_at_251(std, scale, thresholding):
    everything = GaussianMixture(smooth_modes(32), std)
    prompted = GaussianMixture(everything.means[:8], std)
    schedule, x_T = CosineSchedule(), draws(24, 3, 8, 8)()

    def end(sampler, times):
        guided = {"null": everything, "guidance": ClassifierFreeGuidance(scale=scale)} if scale != 1.0 else {}
        denoise = MixtureDenoiser(schedule, prompted, thresholding=thresholding, **guided)
        x_0 = sampler.sample(denoise, x_T, times, noise=lambda: x_T)
        return x_0, denoise.calls

    exact, _ = end(DPMPP2M(), schedule.logsnr_to_t(torch.linspace(-20, 20, 400, dtype=torch.float64)))

    multistep, calls = end(DPMPP2M(), DPMPP2M().times(schedule, 21))
    ddim, ddim_calls = end(DDIM(), time_grid(schedule, 251, "uniform"))
    assert (calls, ddim_calls) == (21, 251)
    assert typical_error(multistep, exact) <= typical_error(ddim, exact)


def test_inversion_brings_the_picture_back():
    schedule, data = CosineSchedule(), GaussianMixture(smooth_modes(4), 0.1)
    x_0 = data.means.repeat(3, 1, 1, 1) + data.std * draws(12, 3, 8, 8)()

    def error(calls: int) -> float:
        times, denoise = DDIM().times(schedule, calls), MixtureDenoiser(schedule, data)
        x_T = ddim_invert(denoise, x_0, times)
        assert denoise.calls == calls
        assert x_T.std().item() == pytest.approx(1.0, abs=0.15)
        back = DDIM().sample(denoise, x_T, times, noise=lambda: x_T)
        return typical_error(back, x_0)

    errors = [error(calls) for calls in (20, 40, 80, 160)]
    halved = torch.tensor(errors[1:]) / torch.tensor(errors[:-1])
    torch.testing.assert_close(halved, torch.full((3,), 0.5), rtol=0, atol=0.05)
    assert errors[-1] < 0.004


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
def test_a_learned_variance_takes_the_place_of_gamma(gamma):
    schedule, noise = DiscreteSchedule(), [draws(6, 2, 1, 1) for _ in range(2)]
    times = time_grid(schedule, 20, "uniform")
    fixed = DDPM(gamma=gamma).sample(MixtureDenoiser(schedule, FLAT), noise[0](), times, noise=noise[0])
    learned = MixtureDenoiser(schedule, FLAT, variance_frac=gamma)
    torch.testing.assert_close(DDPM(gamma=0.7).sample(learned, noise[1](), times, noise=noise[1]), fixed)


@pytest.mark.parametrize(
    ("one", "other"), [(DPMPP2MSDE(eta=0.0), DPMPP2M()), (DDIM(eta=1.0), DDPM(gamma=0.0))], ids=["2m", "ancestral"]
)
def test_samplers_that_meet(one, other):
    noise = [draws(6, 2, 1, 1) for _ in range(2)]
    times = time_grid(CosineSchedule(), 15, "logsnr")
    ends = [
        sampler.sample(MixtureDenoiser(CosineSchedule(), FLAT), stream(), times, noise=stream)
        for sampler, stream in zip((one, other), noise, strict=True)
    ]
    torch.testing.assert_close(ends[0], ends[1])
