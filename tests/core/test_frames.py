"""Do samplers, guidances, thresholdings and losses take frames, (b c f h w), as they take pictures? docs/video.md says so.

Moving pictures here are Gaussian, and neighbouring frames alike: their exact denoiser is a product along f.
"""

from __future__ import annotations

import pytest
import torch

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.adaptive_projected import AdaptiveProjectedGuidance
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.inpainting import KnownRegion
from imagen_core.losses import diffusion_loss
from imagen_core.noise import BatchNoise
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding.dynamic import DynamicThresholding
from imagen_core.thresholding.none import NoThresholding

SCHEDULE = CosineSchedule(logsnr_min=-10.0, logsnr_max=10.0)
FRAMES = 4
ALIKE = 0.8  # correlation of neighbouring frames
COVARIANCE = ALIKE ** (torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)).abs().double()


def exact(x_t, time, told):
    """E[x_0 | x_t] of x_t (b c f h w): alpha C (alpha^2 C + sigma^2)^-1 along f; each branch shrinks it."""
    first, last = SCHEDULE.network_time(torch.tensor([0.0, 1.0], dtype=torch.float64))
    alpha, sigma = SCHEDULE.alpha_sigma((time.double() - first) / (last - first))
    noisy = alpha[:, None, None] ** 2 * COVARIANCE + sigma[:, None, None] ** 2 * torch.eye(FRAMES)
    gain = (alpha[:, None, None] * COVARIANCE @ torch.linalg.inv(noisy)).to(x_t)  # b f f
    return torch.einsum("bgf,bcfhw->bcghw", gain, x_t) * (1.0 - told.vector[:, :1, None, None, None])


def in_planes(x_t, time, told):
    """The same of frames laid out as channels, (b c*f h w)."""
    return exact(x_t.unflatten(1, (-1, FRAMES)), time, told).flatten(1, 2)


def drawn(network, sampler, x_T, noises, steps=5, **how):
    branches = {
        name: Signals(vector=torch.full((len(x_T), 1), shift)) for name, shift in (("cond", 0.0), ("null", 0.3))
    }
    denoise = Denoiser(Predictor(network=network, schedule=SCHEDULE, prediction_type="x_0"), branches, **how)
    grid = SAMPLERS[sampler]().times(SCHEDULE, steps, "logsnr")
    left = iter(noises)
    return SAMPLERS[sampler]().sample(denoise, x_T, grid, noise=lambda: next(left))


@pytest.mark.parametrize(
    "guidance", [ClassifierFreeGuidance(scale=3.0, rescale=0.7), AdaptiveProjectedGuidance(scale=4.0)]
)
@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"consistency"}))
def test_frames_are_drawn_as_the_same_numbers_in_planes_are(sampler, guidance):
    noise = BatchNoise([3, 4])
    x_T, *noises = (noise((3, FRAMES, 6, 5)) for _ in range(12))
    how = {"guidance": guidance, "thresholding": DynamicThresholding(percentile=0.95)}
    found = drawn(exact, sampler, x_T, noises, **how)
    planes = drawn(in_planes, sampler, x_T.flatten(1, 2), [each.flatten(1, 2) for each in noises], **how)
    assert found.shape == (2, 3, FRAMES, 6, 5) and found.std() > 0.1
    torch.testing.assert_close(found.flatten(1, 2), planes, atol=1e-5, rtol=1e-5)
    alone = BatchNoise([4])
    x_T, *noises = (alone((3, FRAMES, 6, 5)) for _ in range(12))
    torch.testing.assert_close(drawn(exact, sampler, x_T, noises, **how), found[1:], atol=1e-5, rtol=1e-5)


def test_neighbouring_frames_come_out_as_alike_as_they_are():
    x_T = torch.randn(4, 3, FRAMES, 24, 24, generator=torch.Generator().manual_seed(0))
    found = drawn(exact, "heun", x_T, [], 30, guidance=ClassifierFreeGuidance(scale=1.0), thresholding=NoThresholding())
    rows = found.movedim(2, 0).flatten(1).double()
    torch.testing.assert_close(torch.corrcoef(rows), COVARIANCE, atol=0.05, rtol=0)


def test_known_frames_stay_and_the_others_follow_them():
    """Going on with a film: the first two frames are known: inpainting along f, which fits less well than it should."""
    noise = torch.Generator().manual_seed(0)
    film, mask = torch.randn(4, 3, FRAMES, 16, 16, generator=noise), torch.zeros(4, 1, FRAMES, 1, 1)
    film[:, :, 1] = ALIKE * film[:, :, 0] + (1 - ALIKE**2) ** 0.5 * film[:, :, 1]
    mask[:, :, 2:] = 1.0
    told = {"cond": Signals(vector=torch.zeros(4, 1))}
    predictor = Predictor(network=exact, schedule=SCHEDULE, prediction_type="x_0")
    denoise = KnownRegion(Denoiser(predictor, told, thresholding=NoThresholding()), film, mask.expand_as(film))
    sampler = SAMPLERS["ddpm"]()
    fresh = lambda: torch.randn(film.shape, generator=noise)
    found = sampler.sample(denoise, fresh(), sampler.times(SCHEDULE, 60, "uniform"), noise=fresh)
    assert torch.equal(found[:, :, :2], film[:, :, :2])
    both = torch.stack([found[:, :, 1].flatten(), found[:, :, 2].flatten()])
    assert 0.45 < torch.corrcoef(both)[0, 1] < 0.7, "replacing alone leaves them less alike than films are: .8"


def test_the_loss_of_frames_is_that_of_their_numbers():
    x_0, noise = torch.randn(2, 2, 3, FRAMES, 6, 5, generator=torch.Generator().manual_seed(0))
    told, times = Signals(vector=torch.zeros(2, 1)), torch.tensor([0.3, 0.7])
    settings = {"schedule": SCHEDULE, "prediction_type": "x_0", "times": times}
    found = diffusion_loss(lambda x, time: exact(x, time, told), x_0, noise=noise, **settings)
    planes = diffusion_loss(
        lambda x, time: in_planes(x, time, told), x_0.flatten(1, 2), noise=noise.flatten(1, 2), **settings
    )
    torch.testing.assert_close(found, planes)
