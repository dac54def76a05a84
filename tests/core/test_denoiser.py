"""Does the denoiser read every kind of network alike, and refuse what it would misread?"""

import pytest
import torch

from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance import GUIDANCE
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.noise import BatchNoise
from imagen_core.parameterization import diffuse, per_image
from imagen_core.predictions import PREDICTIONS, prediction_of
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS
from imagen_core.schedules import SCHEDULES
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding import THRESHOLDINGS
from imagen_core.thresholding.none import NoThresholding
from imagen_core.thresholding.static import StaticThresholding

GENERATOR = torch.Generator().manual_seed(0)
X_0, EPS = torch.randn(2, 4, 3, 6, 6, generator=GENERATOR)


def denoiser(network, **settings) -> Denoiser:
    read = {"schedule": CosineSchedule(), "prediction_type": "v", "learned_variance": False}
    read |= {name: settings.pop(name) for name in read.keys() & settings.keys()}
    told = {name: settings.pop(name) for name in ("cond", "null") if name in settings}
    settings = {"thresholding": NoThresholding(), **settings}
    return Denoiser(Predictor(network=network, **read), {"cond": Signals(), **told}, **settings)


class Picture(torch.nn.Module):
    """A real network whose output depends on the picture, the time and the low-resolution condition."""

    def __init__(self, channels_out: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(6, channels_out, 3, padding=1)

    def forward(self, x_t, time, told):
        low_res = torch.zeros_like(x_t) if told.pixels is None else told.pixels.to(x_t)
        scale = per_image(time, x_t) / 1000
        return self.conv(torch.cat([x_t * scale.cos(), low_res * scale.sin()], 1))


@pytest.mark.parametrize("schedule", [schedule() for schedule in SCHEDULES.values()], ids=repr)
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_a_perfect_network_of_any_type_gives_x_0_and_eps(schedule, prediction_type):
    t = torch.tensor(0.4, dtype=torch.float64)
    alpha, sigma = (value.item() for value in schedule.alpha_sigma(t))
    x_t = diffuse(X_0, EPS, alpha, sigma)
    times = []

    def network(x, time, conditioning):
        times.append(time)
        return prediction_of(prediction_type).target(X_0, EPS, alpha, sigma)

    got = denoiser(network, schedule=schedule, prediction_type=prediction_type)(x_t, t)
    torch.testing.assert_close(got.x_0, X_0, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.eps, EPS, rtol=1e-4, atol=1e-4)
    assert got.variance_frac is None
    assert times[0].tolist() == pytest.approx([schedule.network_time(t).item()] * 4)


@pytest.mark.parametrize("schedule", [schedule() for schedule in SCHEDULES.values()], ids=repr)
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_finite_at_the_ends(schedule, prediction_type, t):
    guided = {"null": Signals(), "guidance": ClassifierFreeGuidance(), "thresholding": StaticThresholding()}
    got = denoiser(Picture(), schedule=schedule, prediction_type=prediction_type, **guided)(EPS, torch.tensor(t))
    assert torch.isfinite(got.x_0).all()
    assert torch.isfinite(got.eps).all()


def test_guides_then_thresholds_then_recomputes_eps():
    cond, null = Signals(pixels=X_0), Signals(pixels=-X_0)
    network, t = Picture(), torch.tensor(0.5)
    plain = {"prediction_type": "x_0"}
    with torch.inference_mode():
        alone = [denoiser(network, cond=side, **plain)(EPS, t).x_0 for side in (cond, null)]
        guidance, thresholding = ClassifierFreeGuidance(scale=6.0), StaticThresholding()
        both = denoiser(network, cond=cond, null=null, guidance=guidance, thresholding=thresholding, **plain)(EPS, t)
    expected = torch.clip(alone[1] + 6.0 * (alone[0] - alone[1]), -1, 1)
    torch.testing.assert_close(both.x_0, expected, rtol=1e-4, atol=1e-5)
    alpha, sigma = CosineSchedule().alpha_sigma(t)
    torch.testing.assert_close(alpha * both.x_0 + sigma * both.eps, EPS)


def test_a_time_an_image_equals_images_alone():
    t = torch.tensor([0.1, 0.4, 0.6, 0.95], dtype=torch.float64)
    cond, null = X_0, X_0.flip(0)
    network, guidance = Picture(), ClassifierFreeGuidance(start=0.2, end=0.7)  # active for the middle two
    with torch.inference_mode():
        settings = {"guidance": guidance, "null": Signals(pixels=null), "cond": Signals(pixels=cond)}
        together = denoiser(network, **settings)(EPS, t)
        for i in range(4):
            one = slice(i, i + 1)
            settings = {"cond": Signals(pixels=cond[one]), "null": Signals(pixels=null[one])}
            alone = denoiser(network, guidance=guidance, **settings)(EPS[one], t[i])
            torch.testing.assert_close(together.x_0[one], alone.x_0, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(together.eps[one], alone.eps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(16,), (7, 8), (3, 2, 4, 4)], ids=["embeddings", "tokens", "frames"])
@pytest.mark.parametrize("guidance", GUIDANCE)
def test_pictures_are_one_shape_among_others(guidance, shape):
    """A prior's embeddings, latent tokens and frames run through every guidance, thresholding and sampler as they are."""

    def network(x, time, told):
        return 0.5 * x + told.vector.reshape(-1, *[1] * len(shape))

    def drawn(name, method, part):
        predictor = Predictor(network=network, schedule=CosineSchedule(), prediction_type="v")
        told = {branch: Signals(vector=torch.ones(3)[part] * i) for i, branch in enumerate(("null", "cond", "weak"))}
        steering = GUIDANCE[guidance](scale=3.0)
        denoise = Denoiser(predictor, told, guidance=steering, thresholding=THRESHOLDINGS[method]())
        noise, sampler = BatchNoise([4, 5, 6][part]), SAMPLERS[name]()
        times = sampler.times(CosineSchedule(), 3)
        return sampler.sample(denoise, noise(shape), times, noise=lambda: noise(shape))

    for name in SAMPLERS:
        for method in THRESHOLDINGS:
            together = drawn(name, method, slice(None))
            assert together.shape == (3, *shape) and together.isfinite().all()
            torch.testing.assert_close(together[1:2], drawn(name, method, slice(1, 2)), rtol=1e-4, atol=1e-4)


def test_learned_variance_is_carried_from_the_prompt():
    network, t = Picture(channels_out=6), torch.tensor(0.5)
    cond, null = Signals(pixels=X_0), Signals(pixels=-X_0)
    settings = {"cond": cond, "null": null, "guidance": ClassifierFreeGuidance(scale=3.0)}
    with torch.inference_mode():
        got = denoiser(network, learned_variance=True, **settings)(EPS, t)
        v = network(EPS, torch.full((4,), 500.0), cond)[:, 3:]
    assert got.x_0.shape == EPS.shape
    torch.testing.assert_close(got.variance_frac, (v + 1) / 2)


@pytest.mark.parametrize(("channels", "learned_variance"), [(6, False), (3, True)])
def test_unexpected_channels_are_refused(channels, learned_variance):
    with pytest.raises(ValueError, match=f"{channels} channels.*learned_variance"):
        denoiser(Picture(channels), learned_variance=learned_variance)(EPS, torch.tensor(0.5))


def test_a_half_precision_network_is_read_in_float32():
    half, full = Picture().to(torch.bfloat16), Picture()
    with torch.inference_mode():
        got, exact = (denoiser(network)(EPS, torch.tensor(0.3)) for network in (half, full))
    assert got.x_0.dtype == got.eps.dtype == torch.float32
    torch.testing.assert_close(got.x_0, exact.x_0, rtol=0, atol=0.05)


def test_unknown_prediction_type():
    with pytest.raises(ValueError, match="eps, flow, v, x_0"):
        denoiser(Picture(), prediction_type="epsilon")
