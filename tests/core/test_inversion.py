"""Does DDIM find the noise of a picture, and the picture again? Of Gaussian data the way there and back is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imagen_core import Draw, Stage, StageSpec, invert, sample_base
from imagen_core.samplers.ddim import DDIM
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding.none import NoThresholding
from imagen_core.unets import BaseUNetConfig

MEAN, DEVIATION = 0.2, 0.3
SCHEDULE = CosineSchedule()
PICTURES = (MEAN + DEVIATION * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)


class Exact(nn.Module):
    """The posterior mean of pixels that are N(MEAN, DEVIATION^2)."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(MEAN))

    def forward(self, x_t, time, told):
        alpha, sigma = (part[:, None, None, None] for part in SCHEDULE.alpha_sigma(time.double() / 1000))
        share = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        return (self.mean + share * (x_t - alpha * self.mean)).float()


@pytest.fixture
def stage():
    spec = StageSpec(
        stage="base64",
        unet_config=BaseUNetConfig(text_embed_dim=None),
        schedule_config={"name": "cosine"},
        prediction_type="x_0",
    )
    return Stage(unet=Exact().requires_grad_(False), schedule=SCHEDULE, spec=spec)


def draw(steps, **settings):
    return Draw(seeds=range(2), steps=steps, thresholding=NoThresholding(), **settings)


def test_the_noise_is_the_exact_one_and_the_picture_comes_back(stage):
    """A pixel's distance from the mean, in deviations, is the same at every level of the exact flow."""
    found = invert(stage, None, PICTURES, draw(400))
    alpha, sigma = (float(part[0]) for part in SCHEDULE.alpha_sigma(DDIM().times(SCHEDULE, 400)))
    deviation = (alpha**2 * DEVIATION**2 + sigma**2) ** 0.5
    exact = alpha * MEAN + deviation * (PICTURES - MEAN) / DEVIATION
    torch.testing.assert_close(found.x_T, exact, atol=0.05, rtol=0)
    assert (found.psnr > 40).all()
    assert (found.psnr > invert(stage, None, PICTURES, draw(50)).psnr + 10).all()


def test_drawn_from_that_noise_it_is_what_came_back(stage):
    calls = []
    found = invert(stage, None, PICTURES, draw(50, callback=lambda call, total, _: calls.append((call, total))))
    assert calls == [(call, 100) for call in range(1, 101)]
    again = draw(50, sampler=DDIM()).from_noise(found.x_T)
    assert torch.equal(sample_base(stage, None, again, height=8, width=8), found.redrawn)
    with pytest.raises(ValueError, match="noise to start from is"):
        sample_base(stage, None, again, height=8, width=9)


def test_a_stage_that_enlarges_is_refused(stage):
    with pytest.raises(ValueError, match="sr256 stage enlarges"):
        invert(replace(stage, spec=replace(stage.spec, stage="sr256")), None, PICTURES, draw(2))
