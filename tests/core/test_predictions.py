"""Is what a network of each prediction type puts out read as x_0, and is a flow model sampled as flow models are?"""

from itertools import pairwise

import pytest
import torch
from gaussian_mixture import GaussianMixture

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.parameterization import diffuse, per_image, x_0_to_eps
from imagen_core.predictions import PREDICTIONS, prediction_of
from imagen_core.predictor import Predictor
from imagen_core.samplers.ddim import DDIM
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.flow import FlowSchedule
from imagen_core.thresholding.none import NoThresholding

GENERATOR = torch.Generator().manual_seed(0)
X_0, EPS = torch.randn(2, 5, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)
T = torch.tensor([0.05, 0.3, 0.5, 0.7, 0.95], dtype=torch.float64)
ALPHA, SIGMA = (per_image(values, X_0) for values in CosineSchedule().alpha_sigma(T))
X_T = diffuse(X_0, EPS, ALPHA, SIGMA)
DEFINED = {"eps": EPS, "v": ALPHA * EPS - SIGMA * X_0, "x_0": X_0, "flow": EPS - X_0}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_what_a_network_should_put_out_is_read_as_x_0(name):
    prediction = prediction_of(name)
    target = prediction.target(X_0, EPS, ALPHA, SIGMA)
    torch.testing.assert_close(prediction.to_x_0(target, X_T, ALPHA, SIGMA), X_0)
    if name in DEFINED:
        torch.testing.assert_close(target, DEFINED[name])


def test_eps_is_read_back_from_x_0():
    torch.testing.assert_close(x_0_to_eps(X_0, X_T, ALPHA, SIGMA), EPS)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_scalars_broadcast_and_keep_float32(name):
    x_t = diffuse(X_0.float(), EPS.float(), 0.6, 0.8)
    prediction = prediction_of(name)
    got = prediction.to_x_0(prediction.target(X_0.float(), EPS.float(), 0.6, 0.8), x_t, 0.6, 0.8)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, X_0.float())


def test_unknown_prediction_type():
    with pytest.raises(ValueError, match="'epsilon'.*eps, flow, v, x_0"):
        prediction_of("epsilon")


class Flow(torch.nn.Module):
    """An exact flow model of a mixture, as its authors would write it: z = (1 - s) x_0 + s eps in, velocity out."""

    def __init__(self) -> None:
        super().__init__()
        self.data = GaussianMixture(0.5 * torch.randn(3, 2, 1, 3, generator=GENERATOR).double(), 0.2)
        self.precise = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))  # a denoiser asks for the dtype

    def forward(self, z, time, conditioning=None):
        s = time[0].item() / 1000.0
        length = ((1.0 - s) ** 2 + s**2) ** 0.5
        x_0 = self.data.expected_x_0(z / length, (1.0 - s) / length, s / length)
        return (z - x_0) / s


@torch.inference_mode()
def test_eulers_steps_along_a_flow_are_ddims():
    network, schedule = Flow(), FlowSchedule()
    times = DDIM().times(schedule, 40)
    x_T = torch.randn(6, 2, 1, 3, generator=GENERATOR, dtype=torch.float64)
    denoise = Denoiser(
        Predictor(network=network, schedule=schedule, prediction_type="flow"),
        {"cond": Signals()},
        thresholding=NoThresholding(),
    )
    ours = DDIM().sample(denoise, x_T, times, noise=lambda: x_T)

    s = schedule.flow_time(times)
    z = x_T * schedule.input_scale(times[0])
    for here, there in pairwise([*s.tolist(), 0.0]):  # the last call jumps to the picture
        z = z + (there - here) * network(z, torch.full((6,), 1000.0 * here, dtype=torch.float64))
    assert (ours - z).abs().max() < 1e-12


def test_a_flow_schedule_scales_and_counts_as_its_network_was_trained():
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    larger = FlowSchedule(noise_scale=2.0, time_scale=1.0, towards_clean=True)
    s, (alpha, sigma) = larger.flow_time(t), larger.alpha_sigma(t)
    torch.testing.assert_close(larger.input_scale(t) * alpha, 1.0 - s)
    torch.testing.assert_close(larger.input_scale(t) * sigma, 2.0 * s)
    torch.testing.assert_close(larger.network_time(t), 1.0 - s)
    torch.testing.assert_close(FlowSchedule().network_time(t), 1000.0 * FlowSchedule().flow_time(t))
    assert CosineSchedule().input_scale(t) is None
    with pytest.raises(ValueError, match="noise_scale 0"):
        FlowSchedule(noise_scale=0.0)
