"""Does JiT draw under our samplers as under its authors' (arXiv 2511.13720, section 4), and is no noise left?"""

import pytest
import torch

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.noise import BatchNoise
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS
from imagen_core.samplers.ddim import DDIM
from imagen_core.schedules.flow import FlowSchedule
from imagen_core.thresholding.none import NoThresholding
from imagen_core.unets import build_unet
from imagen_core.unets.jit import JiTConfig

LABELS = torch.tensor([1, 4])


def schedule_of(noise_scale):
    return FlowSchedule(noise_scale=noise_scale, time_scale=1.0, towards_clean=True)


def denoiser(network, schedule, told, **settings):
    predictor = Predictor(network=network, schedule=schedule, prediction_type="x_0")
    return Denoiser(predictor, told, thresholding=NoThresholding(), **settings)


def as_published(x_0_of, noise, noise_scale, steps, clamp=0.05):
    """Euler along t from 0, noise, to 1: z moves by v = (x - z) / (1 - t), whose divisor is kept above `clamp`."""
    z, path = noise_scale * noise, []
    for i in range(steps):
        t = i / steps
        path.append(z)
        z = z + (x_0_of(z, t) - z) / max(1 - t, clamp) / steps
    return z, path


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_unet(JiTConfig(**JiTConfig.tiny)).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        parameter.normal_(1.0 if "norm" in name else 0.0, 0.2)
    return network


@pytest.mark.parametrize("noise_scale", [1.0, 2.0])
def test_ddim_is_the_authors_euler(network, noise_scale):
    """Guided from t = 0.1 on: their guidance combines velocities, ours x_0, which is the same."""
    schedule, steps = schedule_of(noise_scale), 20
    cond, null = network.encode_class(LABELS), network.encode_class()

    def x_0_of(z, t):
        time = torch.full((2,), t)
        x_0, blank = network(z, time, cond), network(z, time, Signals(vector=null.vector.expand(2, -1)))
        return x_0 if t <= 0.1 else blank + 3.0 * (x_0 - blank)

    noise = BatchNoise([0, 1])((3, 16, 16))
    theirs, path = as_published(x_0_of, noise, noise_scale, steps)
    told = {"cond": cond, "null": Signals(vector=null.vector.expand(2, -1))}
    denoise = denoiser(network, schedule, told, guidance=ClassifierFreeGuidance(scale=3.0, start=0.101))
    times = torch.linspace(1.0, 1.0 / steps, steps, dtype=torch.float64)
    ours = DDIM().sample(denoise, noise, times, noise=lambda: noise)
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)
    for i in (0, 5, 15):  # one step from where they are
        x_t = path[i] / schedule.input_scale(times[i]).float()
        stepped = DDIM().sample(denoise, x_t, times[i : i + 1], noise=lambda: noise)
        torch.testing.assert_close(stepped, x_0_of(path[i], i / steps), atol=3e-4, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_noise_is_left(sampler):
    """A network that knows the picture ends on it, in every sampler; the authors' clamp leaves a hundredth of the noise."""
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    schedule, noise = schedule_of(2.0), BatchNoise([0])
    x_T = noise((3, 8, 8))
    denoise = denoiser(lambda x_t, time, told: picture, schedule, {"cond": Signals()})
    times = SAMPLERS[sampler]().times(schedule, 50)
    ours = SAMPLERS[sampler]().sample(denoise, x_T, times, noise=lambda: noise((3, 8, 8)))
    torch.testing.assert_close(ours, picture, atol=1e-6, rtol=0)
    theirs, _ = as_published(lambda z, t: picture, x_T, 2.0, 50)
    assert 0.01 < ((theirs - picture) / (2.0 * x_T - picture)).mean() < 0.02
