"""Do whole runs on discrete timesteps equal diffusers' schedulers, learned variance and thresholding included?"""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.predictor import Predictor
from imagen_core.samplers.ddim import DDIM
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.samplers.dpmpp_2m_sde import DPMPP2MSDE
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.thresholding.dynamic import DynamicThresholding
from imagen_core.thresholding.none import NoThresholding

BETAS = ["linear", "squaredcos_cap_v2"]
TIMESTEPS = list(range(950, -1, -50))  # what "leading" spacing gives for 20 of 1000
SHAPE = (2, 3, 6, 6)


def network(learned: bool):
    """A deterministic network without training: 3 channels of eps and, if asked, 3 of variance in [-1, 1]."""
    torch.manual_seed(0)
    eps, variance = (torch.nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False) for _ in range(2))

    def predict(x_t, time, conditioning=None):
        predicted = eps(x_t) + 0.3 * torch.sin(time / 100).reshape(-1, 1, 1, 1) * x_t
        return torch.cat([predicted, torch.tanh(variance(x_t))], 1) if learned else predicted

    return predict


def ours(sampler, betas, *, learned=False, thresholding=None, timesteps=TIMESTEPS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    schedule = DiscreteSchedule(betas=betas)
    denoise = Denoiser(
        Predictor(network=network(learned), schedule=schedule, prediction_type="eps", learned_variance=learned),
        {"cond": Signals()},
        thresholding=thresholding or NoThresholding(),
    )
    noise = lambda: torch.randn(SHAPE, generator=generator)
    return sampler.sample(denoise, noise(), torch.tensor(timesteps).double() / 999, noise=noise)


def theirs(scheduler, *, learned=False, **step_settings) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(SHAPE, generator=generator)
    net = network(learned)
    for timestep in scheduler.timesteps:
        output = net(x_t, timestep.float().expand(len(x_t)))
        x_t = scheduler.step(output, timestep, x_t, generator=generator, **step_settings).prev_sample
    return x_t


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    """To what diffusers' float32 tables allow."""
    scale = b.abs().max().item()
    torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=2e-4)


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize(
    ("variance_type", "gamma"), [("fixed_small", 0.0), ("fixed_large", 1.0), ("learned_range", 0.5)]
)
def test_ddpm(betas, variance_type, gamma):
    learned = variance_type == "learned_range"
    scheduler = DDPMScheduler(beta_schedule=betas, variance_type=variance_type, clip_sample=False)
    scheduler.set_timesteps(timesteps=TIMESTEPS)
    assert_same(ours(DDPM(gamma=gamma), betas, learned=learned), theirs(scheduler, learned=learned))


@pytest.mark.parametrize(("percentile", "maximum"), [(0.95, 1.5), (0.95, 1.0)], ids=["IF stage I", "IF stage II"])
def test_ddpm_as_deepfloyd_if_runs_it(percentile, maximum):
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=percentile,
        sample_max_value=maximum,
    )
    smart27 = [999, 979, 951, 900, 800, 600, 400, 200, 100, 37, 9, 0]  # uneven, and from the very first timestep
    scheduler.set_timesteps(timesteps=smart27)
    thresholding = DynamicThresholding(percentile=percentile, maximum=maximum)
    got = ours(DDPM(), "squaredcos_cap_v2", learned=True, thresholding=thresholding, timesteps=smart27)
    assert got.abs().max() <= 1.0
    assert_same(got, theirs(scheduler, learned=True))


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(betas, eta):
    scheduler = DDIMScheduler(beta_schedule=betas, clip_sample=False)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps.tolist() == TIMESTEPS
    # diffusers adds noise at every step, the last one's of deviation 0 but for rounding.
    assert_same(ours(DDIM(eta=eta), betas), theirs(scheduler, eta=eta))


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize(
    ("algorithm", "sampler"), [("dpmsolver++", DPMPP2M()), ("sde-dpmsolver++", DPMPP2MSDE())], ids=["2m", "2m sde"]
)
def test_dpmpp_2m(betas, algorithm, sampler):
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule=betas, algorithm_type=algorithm, solver_order=2, final_sigmas_type="zero"
    )
    scheduler.set_timesteps(timesteps=TIMESTEPS)
    assert_same(ours(sampler, betas), theirs(scheduler))
