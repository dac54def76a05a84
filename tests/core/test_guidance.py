"""Does guidance equal its closed forms, and cost a second pass only where it does something?"""

import pytest
import torch

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance import GUIDANCE
from imagen_core.guidance.adaptive_projected import AdaptiveProjectedGuidance
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.predictions import prediction_of
from imagen_core.predictor import Point, Predictor
from imagen_core.samplers import time_grid
from imagen_core.samplers.ddim import DDIM
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding.none import NoThresholding

GENERATOR = torch.Generator().manual_seed(0)
COND, NULL = torch.randn(2, 3, 3, 8, 8, generator=GENERATOR)
PAIR = {"cond": COND, "null": NULL}
AT = Point.on(CosineSchedule(), NULL, torch.tensor(0.5))


def dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)


def test_classifier_free_extrapolates():
    torch.testing.assert_close(ClassifierFreeGuidance(scale=7.5).combine(PAIR, AT), NULL + 7.5 * (COND - NULL))
    torch.testing.assert_close(ClassifierFreeGuidance(scale=0.0).combine(PAIR, AT), NULL)
    torch.testing.assert_close(ClassifierFreeGuidance(scale=1.0).combine(PAIR, AT), COND)


def test_guiding_x_0_is_guiding_eps():
    x_t, alpha, sigma = torch.randn(COND.shape, generator=GENERATOR), 0.6, 0.8
    eps, null_eps = ((x_t - alpha * x_0) / sigma for x_0 in (COND, NULL))
    papers = prediction_of("eps").to_x_0(5.0 * eps - 4.0 * null_eps, x_t, alpha, sigma)  # Imagen, Eq. 2
    torch.testing.assert_close(ClassifierFreeGuidance(scale=5.0).combine(PAIR, AT), papers, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rescale", [0.3, 0.7, 1.0])
def test_rescale_pulls_back_the_deviation(rescale):
    plain = ClassifierFreeGuidance(scale=9.0).combine(PAIR, AT)
    rescaled = ClassifierFreeGuidance(scale=9.0, rescale=rescale).combine(PAIR, AT)
    for image, before, cond in zip(rescaled, plain, COND, strict=True):
        torch.testing.assert_close(image, rescale * before * cond.std() / before.std() + (1 - rescale) * before)


def test_rescale_of_a_flat_picture_is_finite():
    flat = torch.zeros(1, 3, 4, 4)
    assert torch.equal(ClassifierFreeGuidance(rescale=0.7).combine({"cond": flat, "null": flat}, AT), flat)


def test_apg_closed_forms():
    update = COND - NULL
    apg = AdaptiveProjectedGuidance(scale=6.0, eta=0.0).combine(PAIR, AT)
    orthogonal = update - dots(update, COND) / dots(COND, COND) * COND
    torch.testing.assert_close(apg, COND + 5.0 * orthogonal, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dots(apg - COND, COND), torch.zeros(3, 1, 1, 1), rtol=0, atol=1e-2)
    plain = AdaptiveProjectedGuidance(scale=6.0, eta=1.0).combine(PAIR, AT)
    torch.testing.assert_close(plain, ClassifierFreeGuidance(scale=6.0).combine(PAIR, AT), rtol=1e-4, atol=1e-5)
    black = torch.zeros_like(COND)
    torch.testing.assert_close(AdaptiveProjectedGuidance(scale=2.0).combine({"cond": black, "null": NULL}, AT), -NULL)


def test_apg_limits_the_norm_of_long_updates_only():
    update = COND - NULL
    norms = dots(update, update).sqrt()
    limit = norms.median().item()
    got = AdaptiveProjectedGuidance(scale=2.0, eta=1.0, norm_threshold=limit).combine(PAIR, AT) - COND
    torch.testing.assert_close(got, update * (limit / norms).clamp(max=1.0), rtol=1e-4, atol=1e-5)


def test_apg_momentum_is_a_running_sum_of_one_run():
    guidance = AdaptiveProjectedGuidance(scale=2.0, eta=1.0, momentum=-0.5)
    run, other = guidance.start_run(), guidance.start_run()
    first, second = COND - NULL, 2.0 * COND - NULL
    torch.testing.assert_close(guidance.combine(PAIR, AT, memory=run), COND + first)
    got = guidance.combine({"cond": 2.0 * COND, "null": NULL}, AT, memory=run)
    torch.testing.assert_close(got, 2.0 * COND + second - 0.5 * first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(guidance.combine(PAIR, AT, memory=other), COND + first)


class CountingNetwork(torch.nn.Module):
    """A small real network that keeps the batch size of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.batches: list[int] = []

    def forward(self, x_t, time, told):
        self.batches.append(len(x_t))
        picture = told.pixels
        assert len(time) == len(x_t) == len(picture)
        return self.conv(x_t) + picture * time.reshape(-1, 1, 1, 1) / 1000


@torch.inference_mode()
def batches(guidance, calls: int = 20, null: bool = True) -> list[int]:
    network, schedule = CountingNetwork(), CosineSchedule()
    denoise = Denoiser(
        Predictor(network=network, schedule=schedule, prediction_type="v"),
        {"cond": Signals(pixels=COND)} | {name: Signals(pixels=NULL) for name in (guidance.asks if null else ())},
        guidance=guidance,
        thresholding=NoThresholding(),
    )
    DDIM().sample(denoise, NULL, time_grid(schedule, calls, "uniform"), noise=lambda: NULL)
    return network.batches


@pytest.mark.parametrize("name", GUIDANCE)
def test_off_makes_no_second_pass(name):
    every = 3 + 3 * len(GUIDANCE[name].asks)
    assert batches(GUIDANCE[name](scale=GUIDANCE[name].off)) == [3] * 20
    assert batches(GUIDANCE[name](scale=5.0)) == [every] * 20
    if GUIDANCE[name].asks == ("null",):
        assert batches(GUIDANCE[name](scale=5.0), null=False) == [3] * 20


@pytest.mark.parametrize("name", GUIDANCE)
def test_half_an_interval_halves_the_second_passes(name):
    # Calls at progress 0, 1/20, ... 19/20: the middle ten of them.
    every = 3 + 3 * len(GUIDANCE[name].asks)
    assert batches(GUIDANCE[name](scale=5.0, start=0.25, end=0.7)) == [3] * 5 + [every] * 10 + [3] * 5


@pytest.mark.parametrize("name", GUIDANCE)
def test_bad_settings_are_refused(name):
    with pytest.raises(ValueError, match="0 being pure noise"):
        GUIDANCE[name](start=0.8, end=0.2)
    with pytest.raises(ValueError, match="rescale"):
        ClassifierFreeGuidance(rescale=7.0)
    with pytest.raises(ValueError, match="norm_threshold"):
        AdaptiveProjectedGuidance(norm_threshold=-1.0)
    with pytest.raises(ValueError, match="momentum"):
        AdaptiveProjectedGuidance(momentum=1.0)
