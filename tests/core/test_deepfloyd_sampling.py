"""Does our sampling step on DeepFloyd IF's schedules as diffusers' schedulers do, at every setting they have for it?

Whole pictures against its pipelines are in test_deepfloyd_pictures.py.
"""

import importlib

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch.nn import functional as F

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance import GUIDANCE
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.predictor import Predictor
from imagen_core.samplers import RESPACINGS, SAMPLERS, time_grid
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.samplers.dpmpp_2m_sde import DPMPP2MSDE
from imagen_core.samplers.spacing import respace
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.super_resolution import augment, upsample
from imagen_core.thresholding.dynamic import DynamicThresholding

STEP = 3e-4  # a step from the same x_t; the smallest real mistakes measured change it by more
SHAPE = (2, 3, 6, 6)
SCHEDULE = DiscreteSchedule()
IF = {
    "beta_schedule": "squaredcos_cap_v2",
    "variance_type": "learned_range",
    "thresholding": True,
    "dynamic_thresholding_ratio": 0.95,
}
MAXIMA = pytest.mark.parametrize("maximum", [1.5, 1.0], ids=["stage I", "stage II"])


def timesteps_of(times: torch.Tensor) -> list[int]:
    return (times * 999).round().int().tolist()


class Network(torch.nn.Module):
    """3 channels of eps and 3 of variance in [-1, 1], of any dtype; counts how many pictures it saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.eps, self.variance = (torch.nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False) for _ in range(2))
        self.seen = 0

    def forward(self, x_t, time, conditioning=None):
        self.seen += len(x_t)
        wave = 0.3 * torch.sin(time.float() / 100).reshape(-1, 1, 1, 1).to(x_t)
        return torch.cat([self.eps(x_t) + wave * x_t, torch.tanh(self.variance(x_t))], 1)


class Recorded:
    """A denoiser that keeps every x_t it was asked about."""

    def __init__(self, denoise) -> None:
        self.schedule, self._denoise, self.asked = denoise.schedule, denoise, []

    def __call__(self, x_t, t):
        self.asked.append(x_t)
        return self._denoise(x_t, t)


def draw(network, times, *, sampler=None, maximum=1.5, guidance=None, seed=1):
    """Our run: the states in which the network was asked, and the result."""
    denoise = Denoiser(
        Predictor(network=network, schedule=SCHEDULE, prediction_type="eps", learned_variance=True),
        {name: Signals() for name in ("cond", "null", "weak")},
        guidance=guidance or (),
        thresholding=DynamicThresholding(percentile=0.95, maximum=maximum),
    )
    recorded, generator = Recorded(denoise), torch.Generator().manual_seed(seed)
    noise = lambda: torch.randn(SHAPE, generator=generator)
    x_0 = (sampler or DDPM()).sample(recorded, noise(), times, noise=noise)
    return recorded.asked, x_0


def assert_each_step_is_theirs(network, times, maximum, states, x_0):
    """From each of our states, diffusers' step with the same noise leads to our next."""
    scheduler = DDPMScheduler(**IF, sample_max_value=maximum)
    scheduler.set_timesteps(timesteps=timesteps_of(times))
    generator = torch.Generator().manual_seed(1)
    torch.randn(SHAPE, generator=generator)
    for i, (timestep, x_t) in enumerate(zip(scheduler.timesteps, states, strict=True)):
        dtype = next(network.parameters()).dtype
        output = network(x_t.to(dtype), timestep.float().expand(len(x_t))).float()
        step = scheduler.step(output, timestep, x_t, generator=generator)
        # The last call: a list that does not end at 0 gets no noise there, as in the original (diffusers adds some).
        got, theirs = (states[i + 1], step.prev_sample) if i + 1 < len(states) else (x_0, step.pred_original_sample)
        torch.testing.assert_close(got, theirs, rtol=0, atol=STEP)


# ---- which timesteps ----


@pytest.mark.parametrize("name", RESPACINGS)
def test_a_named_spacing_is_the_published_list(name):
    published = importlib.import_module("diffusers.pipelines.deepfloyd_if.timesteps")
    assert timesteps_of(time_grid(SCHEDULE, 1, name)) == getattr(published, f"{name}_timesteps")


def test_plain_n_runs_over_all_timesteps():
    for count in (2, 3, 10, 27, 50, 75, 100, 150, 250, 999, 1000):
        timesteps = respace((count,))
        even = torch.linspace(999, 0, count, dtype=torch.float64)
        assert len(set(timesteps)) == count and (timesteps[0], timesteps[-1]) == (999, 0)
        assert (torch.tensor(timesteps) - even).abs().max() <= 0.5 + 1e-6
        assert timesteps_of(time_grid(SCHEDULE, count, "uniform")) == timesteps


def test_a_section_cannot_be_called_more_often_than_it_is_long():
    with pytest.raises(ValueError, match="300 of 250"):
        respace((10, 10, 300, 10))


def test_a_named_spacing_needs_timesteps():
    with pytest.raises(ValueError, match="continuous time: choose uniform"):
        time_grid(CosineSchedule(), 27, "smart27")


# ---- DDPM ----


@MAXIMA
@pytest.mark.parametrize("spacing", [*RESPACINGS, 1, 2, 27, 50, 100])
def test_ddpm_on_every_spacing_of_the_original(spacing, maximum):
    name, count = (spacing, 1) if isinstance(spacing, str) else ("uniform", spacing)
    times, network = time_grid(SCHEDULE, count, name), Network()
    assert_each_step_is_theirs(network, times, maximum, *draw(network, times, maximum=maximum))


@MAXIMA
@pytest.mark.parametrize("count", [20, 50, 150])
@pytest.mark.parametrize("timestep_spacing", ["leading", "linspace", "trailing"])
def test_ddpm_on_every_spacing_of_diffusers(timestep_spacing, count, maximum):
    scheduler = DDPMScheduler(timestep_spacing=timestep_spacing)
    scheduler.set_timesteps(count)
    times, network = scheduler.timesteps.double() / 999, Network()
    assert_each_step_is_theirs(network, times, maximum, *draw(network, times, maximum=maximum))


def test_a_list_that_does_not_end_at_0_ends_without_noise():
    times, network = torch.tensor([999, 700, 400, 150, 40]).double() / 999, Network()
    states, x_0 = draw(network, times)
    assert x_0.abs().max() <= 1.0
    assert_each_step_is_theirs(network, times, 1.5, states, x_0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_sampler_works_in_float32_whatever_the_weights(dtype):
    """diffusers steps in the weights' type, up to 0.2 wrong in x_0; against its step in float32 we are as exact as ever."""
    times, network = time_grid(SCHEDULE, 1, "smart27"), Network().to(dtype)
    states, x_0 = draw(network, times)
    assert {state.dtype for state in states} | {x_0.dtype} == {torch.float32}
    assert_each_step_is_theirs(network, times, 1.5, states, x_0)


def test_guidance_is_on_eps_and_the_variance_is_the_prompts():
    """Two networks in one: cond and null differ in all six channels."""

    class Two(Network):
        def forward(self, x_t, time, conditioning=None):
            output = super().forward(x_t, time)
            if len(x_t) == SHAPE[0]:
                return output
            cond, null = output.chunk(2)
            return torch.cat([cond, -0.5 * null])

    times, network = time_grid(SCHEDULE, 1, "smart27"), Two()
    states, x_0 = draw(network, times, guidance=ClassifierFreeGuidance(scale=7.0))

    def guided(x_t, timestep):
        cond = Network.forward(network, x_t, timestep)
        eps, variance = cond.chunk(2, 1)
        return torch.cat([-0.5 * eps + 7.0 * (eps + 0.5 * eps), variance], 1)

    guided.parameters = network.parameters
    assert_each_step_is_theirs(guided, times, 1.5, states, x_0)


@pytest.mark.parametrize("name", GUIDANCE)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_guidance_of_1_or_less_is_off_and_costs_nothing(name, scale):
    times, plain, network = time_grid(SCHEDULE, 5), Network(), Network()
    _, x_0 = draw(network, times, guidance=GUIDANCE[name](scale=scale))
    assert network.seen == 5 * SHAPE[0]
    assert torch.equal(x_0, draw(plain, times)[1])


# ---- fast samplers on the same weights ----


@pytest.mark.parametrize("spacing", ["uniform", "logsnr", "karras", "smart27", "super100"])
@pytest.mark.parametrize("name", [name for name, each in SAMPLERS.items() if not each.jumps])
def test_no_call_is_noisier_than_the_published_clip_but_ddpms(name, spacing):
    """Where lambda is below -5.1 a predicted x_0 is the network's error 160 times over."""
    scheduler = DPMSolverMultistepScheduler(**IF, lambda_min_clipped=-5.1, timestep_spacing="linspace")
    scheduler.set_timesteps(20)
    first = timesteps_of(SAMPLERS[name]().times(SCHEDULE, 20, spacing))[0]
    if name == "ddpm" and spacing not in ("logsnr", "karras"):
        assert first == 999
    else:
        assert first <= scheduler.timesteps[0].item()
        assert spacing != "uniform" or first == scheduler.timesteps[0].item()


@MAXIMA
@pytest.mark.parametrize(
    ("algorithm", "sampler"), [("dpmsolver++", DPMPP2M()), ("sde-dpmsolver++", DPMPP2MSDE())], ids=["2m", "2m sde"]
)
@pytest.mark.parametrize("spacing", ["uniform", "logsnr", "smart27"])
def test_dpmpp_2m_is_diffusers(algorithm, sampler, spacing, maximum):
    times, network = sampler.times(SCHEDULE, 20, spacing), Network()
    scheduler = DPMSolverMultistepScheduler(
        **IF, sample_max_value=maximum, algorithm_type=algorithm, final_sigmas_type="zero", lambda_min_clipped=-5.1
    )
    scheduler.set_timesteps(timesteps=timesteps_of(times))
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(SHAPE, generator=generator)
    for timestep in scheduler.timesteps:
        x_t = scheduler.step(network(x_t, timestep.float().expand(2)), timestep, x_t, generator=generator).prev_sample
    torch.testing.assert_close(
        draw(network, times, sampler=sampler, maximum=maximum)[1], x_t, rtol=0, atol=1e-3
    )  # a whole run


# ---- stage II's small picture ----


@pytest.mark.parametrize("noise_level", [0, 1, 250, 290, 570, 999])
def test_the_small_picture_is_noised_as_diffusers_does(noise_level):
    generator = torch.Generator().manual_seed(0)
    small, noise = torch.rand(2, 3, 8, 12, generator=generator) * 2 - 1, torch.randn(2, 3, 32, 48, generator=generator)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    expected = F.interpolate(small, (32, 48), mode="bilinear", align_corners=True)
    expected = scheduler.add_noise(expected, noise, torch.tensor([noise_level] * 2))
    level = torch.full((2,), noise_level / 1000)
    upsampled = upsample(small, (32, 48), "align_corners")
    got = augment(upsampled, level, SCHEDULE, noise, zero_is_clean=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    assert not torch.equal(got, upsampled)  # level 0 too
