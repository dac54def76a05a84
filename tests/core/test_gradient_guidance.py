"""Is a network guided by an exact classifier's gradient the exact conditional one, and is autoguidance its closed form?

Oracle: a Gaussian mixture, of which everything is known: E[x_0 | x_t], p(mode | x_t), and E[x_0 | x_t, mode].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from gaussian_mixture import GaussianMixture, MixtureDenoiser

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance._gradient import CleanGuidance, GradientGuidance, thawed
from imagen_core.guidance.autoguidance import Autoguidance
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.schedules.flow import FlowSchedule
from imagen_core.thresholding.none import NoThresholding
from imagen_core.thresholding.static import StaticThresholding

MEANS = 0.6 * torch.randn(3, 2, 1, 3, generator=torch.Generator().manual_seed(0)).double()
EVERYTHING, ONE = GaussianMixture(MEANS, 0.3), GaussianMixture(MEANS[1:2], 0.3)


@dataclass(frozen=True, kw_only=True)
class ModeGuidance(GradientGuidance):
    """An exact classifier: how likely x_t comes from one mode of the mixture."""

    name: ClassVar[str] = "mode"
    mode: int = 1

    def log_probability(self, at):
        return EVERYTHING.responsibilities(at.x_t, float(at.alpha), float(at.sigma))[:, self.mode].log()


class Exact:
    """The exact network of a mixture, as a stage would hold it; how far off it is may be chosen."""

    def __init__(self, data, schedule, prediction_type="x_0", error=0.0):
        self.data, self.schedule, self.error = data, schedule, error
        self.predictor = Predictor(network=self, schedule=schedule, prediction_type=prediction_type)

    def __call__(self, z, time, told):
        first, last = self.schedule.network_time(torch.tensor([0.0, 1.0], dtype=torch.float64))
        t = (time[0] - first) / (last - first)
        scale = self.schedule.input_scale(t)
        alpha, sigma = (value.item() for value in self.schedule.alpha_sigma(t))
        x_t = z if scale is None else z / scale
        x_0 = self.data.expected_x_0(x_t, alpha, sigma) + self.error
        eps = (x_t - alpha * x_0) / sigma
        return {"x_0": x_0, "eps": eps, "v": alpha * eps - sigma * x_0, "flow": eps - x_0}[
            self.predictor.prediction_type
        ]


def denoiser(network, *guidance, **settings):
    told = {"cond": Signals(), "null": Signals()}
    return Denoiser(network.predictor, told, guidance=guidance, **{"thresholding": NoThresholding(), **settings})


def noise(count=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(count, 2, 1, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [CosineSchedule(), FlowSchedule()], ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_exact_classifier_makes_the_exact_conditional_in_every_sampler(name, schedule):
    sampler = SAMPLERS[name]()
    times = sampler.times(schedule, 12)
    streams = [noise() for _ in range(3)]
    with torch.inference_mode():  # as hosts run nodes
        guided = denoiser(Exact(EVERYTHING, schedule), ModeGuidance())
        drawn = sampler.sample(guided, streams[0](), times, noise=streams[0])
        alone = sampler.sample(guided, streams[1]()[2:3], times, noise=lambda: streams[1]()[2:3])
        exact = sampler.sample(MixtureDenoiser(schedule, ONE), streams[2](), times, noise=streams[2])
    assert (drawn - exact).abs().max() < 1e-6
    assert (drawn[2:3] - alone).abs().max() < 1e-6
    assert (drawn - sampler.sample(denoiser(Exact(EVERYTHING, schedule)), noise()(), times, noise=noise())).std() > 0.1


@pytest.mark.parametrize("t", [0.1, 0.3, 0.6, 0.9])
def test_one_call_is_the_exact_conditional_and_off_is_off(t):
    schedule, x_t = CosineSchedule(), noise()()
    t = torch.tensor(t, dtype=torch.float64)
    wanted = MixtureDenoiser(schedule, ONE)(x_t, t)
    with torch.inference_mode():
        got = denoiser(Exact(EVERYTHING, schedule), ModeGuidance())(x_t, t)
        plain = denoiser(Exact(EVERYTHING, schedule))(x_t, t)
        for off in (ModeGuidance(scale=0.0), ModeGuidance(start=1.0 - t.item() + 0.01)):
            assert torch.equal(denoiser(Exact(EVERYTHING, schedule), off)(x_t, t).x_0, plain.x_0)
    torch.testing.assert_close(got.x_0, wanted.x_0, rtol=0, atol=1e-9)
    torch.testing.assert_close(got.eps, wanted.eps, rtol=0, atol=1e-9)


def test_gradients_are_added_after_thresholding_which_would_clip_them():
    schedule, x_t, t = CosineSchedule(), 3.0 * noise()(), torch.tensor(0.5, dtype=torch.float64)
    network, guidance = Exact(EVERYTHING, schedule), ModeGuidance(scale=40.0)
    with torch.inference_mode():
        clipped = denoiser(network, thresholding=StaticThresholding())(x_t, t).x_0
        pull = denoiser(network, guidance)(x_t, t).x_0 - denoiser(network)(x_t, t).x_0
        got = denoiser(network, guidance, thresholding=StaticThresholding())(x_t, t).x_0
    torch.testing.assert_close(got, clipped + pull)
    assert got.abs().max() > 1.0


@dataclass(frozen=True, kw_only=True)
class NetworkGuidance(GradientGuidance):
    """Guided by a small network that a node loaded in inference mode."""

    name: ClassVar[str] = "network"
    network: Any = field(default=None, compare=False)

    def log_probability(self, at):
        return self.network(at.x_t).square().mean((1, 2, 3)) * at.alpha.reshape(-1)


def test_a_network_loaded_in_inference_mode_can_be_differentiated_through():
    schedule, x_t, t = CosineSchedule(), noise()(), torch.tensor(0.5, dtype=torch.float64)
    with torch.inference_mode():
        network = (
            torch.nn.Sequential(torch.nn.Conv2d(2, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.SiLU()).double().eval()
        )
        with pytest.raises(RuntimeError, match="nference"):
            denoiser(Exact(ONE, schedule), NetworkGuidance(network=network))(x_t, t)
        got = denoiser(Exact(ONE, schedule), NetworkGuidance(network=thawed(network)))(x_t, t).x_0
        together = denoiser(Exact(ONE, schedule), NetworkGuidance(network=network))(x_t, t.expand(5)).x_0
    alpha, sigma = schedule.alpha_sigma(t)
    x_t.requires_grad_()
    (gradient,) = torch.autograd.grad((network(x_t).square().mean((1, 2, 3)) * alpha).sum(), x_t)
    x_0 = ONE.expected_x_0(x_t.detach(), alpha.item(), sigma.item())
    torch.testing.assert_close(got, x_0 + sigma**2 / alpha * gradient)
    torch.testing.assert_close(together, got)


@dataclass(frozen=True, kw_only=True)
class Tilt(CleanGuidance):
    """log p = towards . x_0, which turns Gaussian data of unit variance into the same about `towards`."""

    name: ClassVar[str] = "tilt"
    towards: Any = field(default=None, compare=False)

    def log_probability_clean(self, x_0):
        return (x_0 * self.towards).sum((1, 2, 3))


@pytest.mark.parametrize("t", [0.01, 0.3, 0.7, 0.99])
def test_what_knows_clean_pictures_only_is_exact_for_unit_gaussians(t):
    schedule, x_t, t = CosineSchedule(), noise()(), torch.tensor(t, dtype=torch.float64)
    unit, moved = (GaussianMixture(factor * MEANS[:1], 1.0) for factor in (0.0, 1.0))
    with torch.inference_mode():
        got = denoiser(Exact(unit, schedule), Tilt(towards=MEANS[:1]))(x_t, t)
    torch.testing.assert_close(got.x_0, MixtureDenoiser(schedule, moved)(x_t, t).x_0, rtol=0, atol=1e-9)


# ---- several branches ----


@pytest.mark.parametrize("prediction_type", ["x_0", "eps", "v", "flow"])
@pytest.mark.parametrize("schedule", [CosineSchedule(), DiscreteSchedule(), FlowSchedule()], ids=lambda s: s.name)
def test_autoguidance_undoes_an_error_whatever_the_weak_network_predicts(schedule, prediction_type):
    """Both are off by the same, the weak one twice as far: at scale 2 nothing of it is left."""
    ours, x_t, t = CosineSchedule(), noise()(), torch.tensor(0.45, dtype=torch.float64)
    weak = Exact(EVERYTHING, schedule, prediction_type, error=0.2)
    denoise = denoiser(
        Exact(EVERYTHING, ours, error=0.1),
        Autoguidance(scale=2.0, weak=weak),
        others={"weak": (weak.predictor, Signals())},
    )
    wanted = MixtureDenoiser(ours, EVERYTHING)(x_t, t)
    torch.testing.assert_close(denoise(x_t, t).x_0, wanted.x_0, rtol=0, atol=1e-9)


def test_pulls_of_several_guidances_add_up_in_any_order():
    schedule, x_t, t = CosineSchedule(), noise()(), torch.tensor(0.5, dtype=torch.float64)

    class Told(Exact):
        def __call__(self, z, time, told):
            return super().__call__(z, time, told) + told.pixels

    network = Told(EVERYTHING, schedule)
    pixels = {"cond": noise(seed=2)(), "null": noise(seed=3)()}
    told = {name: Signals(pixels=value) for name, value in pixels.items()}
    weak = (Told(EVERYTHING, schedule).predictor, Signals(pixels=noise(seed=4)()))
    guidances = [ClassifierFreeGuidance(scale=4.0), Autoguidance(scale=1.5), ModeGuidance(scale=0.5)]

    def x_0(*guidance):
        denoise = Denoiser(
            network.predictor, told, guidance=guidance, thresholding=NoThresholding(), others={"weak": weak}
        )
        return denoise(x_t, t).x_0

    plain = x_0()
    wanted = plain + sum(x_0(each) - plain for each in guidances)
    torch.testing.assert_close(x_0(*guidances), wanted)
    torch.testing.assert_close(x_0(*reversed(guidances)), wanted)


def test_a_branch_that_nobody_answers_is_an_error_but_for_a_missing_null():
    network = Exact(EVERYTHING, CosineSchedule())
    with pytest.raises(ValueError, match="autoguidance asks for weak"):
        denoiser(network, Autoguidance())
    alone = Denoiser(
        network.predictor, {"cond": Signals()}, guidance=ClassifierFreeGuidance(), thresholding=NoThresholding()
    )
    x_t, t = noise()(), torch.tensor(0.5, dtype=torch.float64)
    assert torch.equal(alone(x_t, t).x_0, denoiser(network)(x_t, t).x_0)
