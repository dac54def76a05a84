"""Is the known region of an inpainted picture re-noised as the forward process would, and does resampling help?

Oracles: the forward process itself, and the exact denoiser of Gaussian data, whose conditional distribution is known.
"""

import math

import pytest
import torch
from gaussian_mixture import GaussianMixture, MixtureDenoiser

from imagen_core.denoiser import Prediction
from imagen_core.inpainting import InitImage, renoise, sample_from, shortened
from imagen_core.samplers import SAMPLERS, time_grid
from imagen_core.samplers.ddim import DDIM
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule

SAMPLER_CASES = [*(sampler() for sampler in SAMPLERS.values()), DDPM(gamma=1.0), DDIM(eta=1.0)]
SCHEDULES = [CosineSchedule(), DiscreteSchedule()]


def draws(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


class Seen(MixtureDenoiser):
    """An exact denoiser that keeps every x_t it was asked about."""

    def __init__(self, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.asked = []

    def __call__(self, x_t, t):
        self.asked.append((x_t, t))
        return super().__call__(x_t, t)


def init(picture, **settings) -> InitImage:
    """Already fitted and in float64, as the exact denoisers here want it."""
    return InitImage(pixels=picture, **settings)


# ---- the known region ----


@pytest.mark.parametrize("learned", [None, 0.6], ids=["fixed variance", "learned variance"])
@pytest.mark.parametrize("rounds", [1, 3], ids=["plain", "resampled"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("sampler", SAMPLER_CASES, ids=repr)
def test_the_known_region_has_the_forward_process_own_noise_at_every_level(sampler, schedule, rounds, learned):
    """Others got it wrong: a tenth of the noise, or none. Mean 0 and variance 1 of (x_t - alpha x_0) / sigma."""
    count = 1500
    data = GaussianMixture(torch.zeros(1, 2, 1, 4, dtype=torch.float64), 0.4)
    known = torch.tensor([0.9, -0.7]).double().reshape(1, 2, 1, 1).expand(count, 2, 1, 4)
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).double().reshape(1, 1, 1, 4).expand(count, 1, 1, 4)
    denoise, noise = Seen(schedule, data, variance_frac=learned), draws(count, 2, 1, 4, seed=3)
    repaint = init(known, mask=mask, resample=rounds, jump=2)
    x_0 = sample_from(repaint, sampler, denoise, noise(), sampler.times(schedule, 9), noise=noise)

    assert torch.equal(x_0[..., :2], known[..., :2])
    assert not torch.allclose(x_0[..., 2:], known[..., 2:], atol=0.05)
    values = count * 4  # of the known region, all independent
    for x_t, t in denoise.asked:
        alpha, sigma = (value.item() for value in schedule.alpha_sigma(t))
        eps = (x_t - alpha * known)[..., :2] / sigma
        assert abs(eps.mean().item()) < 4.5 / math.sqrt(values)
        # Heun asks once a step where Euler's guess leads, which is no state; from a known x_0 it is exact all the same.
        assert abs(eps.var().item() - 1.0) < 4.5 * math.sqrt(2.0 / values), t.item()


def test_there_is_one_noise_through_a_soft_edge():
    """Pasting one noisy picture over another would leave 0.5 of the variance in the middle of the edge."""
    count, schedule = 6000, CosineSchedule()
    data = GaussianMixture(torch.zeros(1, 1, 1, 3, dtype=torch.float64), 1e-3)  # grey, whatever is asked
    mask = torch.tensor([0.0, 0.5, 1.0]).double().reshape(1, 1, 1, 3).expand(count, 1, 1, 3)
    denoise, noise = Seen(schedule, data), draws(count, 1, 1, 3)
    repaint = init(torch.zeros(count, 1, 1, 3, dtype=torch.float64), mask=mask)
    sample_from(repaint, DDPM(), denoise, noise(), time_grid(schedule, 12), noise=noise)
    for x_t, t in denoise.asked[:-1]:
        sigma = schedule.alpha_sigma(t)[1].item()
        torch.testing.assert_close(x_t.var(0).squeeze() / sigma**2, torch.ones(3).double(), atol=0.09, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("steps", [50, 250])
def test_a_jump_back_leaves_the_forward_process_distribution(schedule, steps):
    """imagen-pytorch's step back leaves a variance of 0.6 after a run at these step counts."""
    times, x_0, noise = time_grid(schedule, steps), 0.8, draws(40_000)
    for i in (0, len(times) // 2, len(times) - 2):
        t, s = times[i], times[i + 1]
        alpha_s, sigma_s = (value.item() for value in schedule.alpha_sigma(s))
        x_t = renoise(alpha_s * x_0 + sigma_s * noise(), schedule, s, t, noise())
        alpha_t, sigma_t = (value.item() for value in schedule.alpha_sigma(t))
        assert x_t.mean().item() == pytest.approx(alpha_t * x_0, abs=4 * sigma_t / 200)
        assert x_t.var().item() == pytest.approx(sigma_t**2, rel=4 * math.sqrt(2 / 40_000))


# ---- what is drawn into the unknown region ----


def conditional(rounds: int, sampler=None, steps: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (2,) and covariance (2 2) of two unknown values given two known ones, as inpainting draws them."""
    count, schedule = 2000, CosineSchedule()
    denoise, noise = CorrelatedDenoiser(schedule), draws(count, 1, 1, 4, seed=7)
    known = torch.tensor([0.6, -0.5, 0.0, 0.0]).double().reshape(1, 1, 1, 4).expand(count, 1, 1, 4)
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).double().reshape(1, 1, 1, 4).expand(count, 1, 1, 4)
    repaint = init(known, mask=mask, resample=rounds)
    sampler = sampler or DDPM()
    x_0 = sample_from(repaint, sampler, denoise, noise(), time_grid(schedule, steps), noise=noise)
    drawn = x_0[:, 0, 0, 2:]
    return drawn.mean(0), torch.cov(drawn.T)


class CorrelatedDenoiser:
    """E[x_0 | x_t] of four correlated Gaussian values, exact: what is known says much about what is not."""

    covariance = 0.2 * torch.tensor(
        [[1.0, 0.3, 0.9, 0.3], [0.3, 1.0, 0.3, 0.9], [0.9, 0.3, 1.0, 0.3], [0.3, 0.9, 0.3, 1.0]], dtype=torch.float64
    )

    def __init__(self, schedule) -> None:
        self.schedule = schedule

    def __call__(self, x_t, t):
        alpha, sigma = (value.item() for value in self.schedule.alpha_sigma(t))
        total = alpha**2 * self.covariance + sigma**2 * torch.eye(4, dtype=torch.float64)
        x_0 = x_t @ torch.linalg.solve(total, alpha * self.covariance)
        return Prediction(x_0=x_0, eps=(x_t - alpha * x_0) / sigma)

    def truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and covariance of the last two values given the first two."""
        known, across, unknown = self.covariance[:2, :2], self.covariance[2:, :2], self.covariance[2:, 2:]
        gain = across @ torch.linalg.inv(known)
        return gain @ torch.tensor([0.6, -0.5]).double(), unknown - gain @ across.T


def test_resampling_approaches_the_true_conditional():
    mean, covariance = CorrelatedDenoiser(None).truth()
    errors = [
        ((drawn_mean - mean).norm().item(), (drawn_covariance - covariance).norm().item())
        for drawn_mean, drawn_covariance in (conditional(rounds) for rounds in (1, 3, 10))
    ]
    (plain, some, many), (plain_covariance, *resampled) = zip(*errors, strict=True)
    assert some < 0.5 * plain and many < 0.2 * plain, errors
    # At 10 rounds what is left is the sampler's own: DDPM at 100 steps draws a little less variance than there is.
    assert max(resampled) < 0.4 * plain_covariance, errors


def test_resampling_of_a_multistep_sampler_approaches_it_too():
    mean, _ = CorrelatedDenoiser(None).truth()
    plain, many = ((conditional(rounds, DPMPP2M())[0] - mean).norm().item() for rounds in (1, 10))
    assert many < 0.2 * plain


# ---- img2img ----


@pytest.mark.parametrize("name", SAMPLERS)
def test_img2img_at_full_strength_is_text_to_image(name):
    schedule, sampler = CosineSchedule(), SAMPLERS[name]()
    data = GaussianMixture(torch.zeros(1, 3, 4, 4, dtype=torch.float64), 0.5)
    ends = []
    for picture in (None, torch.full((2, 3, 4, 4), 0.7).double()):
        noise = draws(2, 3, 4, 4)
        x_T, times, denoise = noise(), sampler.times(schedule, 7), MixtureDenoiser(schedule, data)
        if picture is None:
            ends.append(sampler.sample(denoise, x_T, times, noise=noise))
        else:
            ends.append(sample_from(init(picture), sampler, denoise, x_T, times, noise=noise))
    assert torch.equal(*ends)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("name", SAMPLERS)
def test_img2img_starts_as_noisy_as_its_strength_says(name, schedule):
    """imagen-pytorch adds noise and picture, a state that no network was trained on; a network must see this one."""
    count, sampler = 4000, SAMPLERS[name]()
    data = GaussianMixture(torch.zeros(1, 1, 1, 1, dtype=torch.float64), 0.5)
    denoise, noise = Seen(schedule, data), draws(count, 1, 1, 1)
    picture = torch.full((count, 1, 1, 1), 0.6).double()
    times = sampler.times(schedule, 30)
    sample_from(init(picture, strength=0.5), sampler, denoise, noise(), times, noise=noise)
    x_t, t = denoise.asked[0]
    alpha, sigma = (value.item() for value in schedule.alpha_sigma(t))
    assert t.item() == pytest.approx(0.5, abs=0.0006)
    assert x_t.mean().item() == pytest.approx(alpha * 0.6, abs=4 * sigma / math.sqrt(count))
    assert x_t.var().item() == pytest.approx(sigma**2, rel=4 * math.sqrt(2 / count))
    assert len(denoise.asked) < sampler.calls(times)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("strength", [0.01, 0.3, 0.7, 0.999, 1.0])
@pytest.mark.parametrize("spacing", ["uniform", "logsnr", "karras"])
def test_a_shortened_grid_is_the_rest_of_the_grid_from_the_strength_on(spacing, strength, schedule):
    whole = time_grid(schedule, 20, spacing)
    rest = shortened(whole, strength, schedule)
    assert (rest.diff() < 0).all()
    assert rest[0].item() == pytest.approx(min(strength, whole[0].item()), abs=0.0006)
    assert torch.equal(rest[1:], whole[len(whole) - len(rest) + 1 :])


def test_uniform_grids_shorten_in_proportion():
    """As diffusers' img2img counts its steps, to one."""
    grid = time_grid(DiscreteSchedule(), 100)
    for strength in (0.8, 0.5, 0.2):
        assert abs(len(shortened(grid, strength, DiscreteSchedule())) - 100 * strength) <= 1


def test_a_weaker_start_stays_nearer_to_the_picture():
    schedule, noise = CosineSchedule(), draws(64, 1, 4, 4)
    data = GaussianMixture(torch.zeros(1, 1, 4, 4, dtype=torch.float64), 0.5)
    picture, x_T = 0.5 * draws(64, 1, 4, 4, seed=9)(), noise()
    distances = [
        (
            sample_from(
                init(picture, strength=strength),
                DPMPP2M(),
                MixtureDenoiser(schedule, data),
                x_T,
                DPMPP2M().times(schedule, 30),
                noise=noise,
            )
            - picture
        )
        .square()
        .mean()
        .item()
        for strength in (0.1, 0.4, 0.7, 1.0)
    ]
    assert distances == sorted(distances) and distances[0] < 0.03 and distances[-1] > 0.4


# ---- counting and refusing ----


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_callback_counts_every_call(name, rounds):
    schedule, sampler, noise = CosineSchedule(), SAMPLERS[name](), draws(1, 1, 2, 2)
    denoise = MixtureDenoiser(schedule, GaussianMixture(torch.zeros(1, 1, 2, 2, dtype=torch.float64), 0.5))
    seen = []
    repaint = init(noise(), mask=torch.ones(1, 1, 2, 2).double(), resample=rounds, jump=3)
    x_0 = sample_from(
        repaint,
        sampler,
        denoise,
        noise(),
        sampler.times(schedule, 11),
        noise=noise,
        callback=lambda call, total, prediction: seen.append((call, total, prediction.x_0)),
    )
    assert [call for call, *_ in seen] == list(range(1, denoise.calls + 1))
    assert {total for _, total, _ in seen} == {denoise.calls}
    assert denoise.calls == (sampler.calls(sampler.times(schedule, 11)) - 1) * rounds + 1
    assert torch.equal(seen[-1][2], x_0)


def test_pictures_and_masks_are_cut_to_shape_and_not_distorted():
    wide = torch.zeros(1, 3, 20, 60)
    wide[..., 20:40] = torch.linspace(-1, 1, 20)
    mask = (torch.arange(30) >= 15).float().expand(1, 1, 10, 30)  # half the size: stretched over the picture
    fitted = InitImage(pixels=wide, mask=mask).fitted(3, (10, 10))
    assert fitted.pixels.shape == (3, 3, 10, 10) and fitted.mask.shape == (3, 1, 10, 10)
    expected = torch.linspace(-1, 1, 20).reshape(10, 2).mean(1)
    torch.testing.assert_close(fitted.pixels[2, 1, 4], expected)
    torch.testing.assert_close(fitted.mask[0, 0, 3], (torch.arange(10) >= 5).float(), atol=0.26, rtol=0)
    same = torch.rand(2, 3, 12, 8) * 2 - 1
    assert torch.equal(InitImage(pixels=same).fitted(2, (12, 8)).pixels, same)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 0.0}, r"strength 0.0 is outside \(0, 1\]"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"resample": 0}, "resample 0"),
        ({"jump": 0}, "jump 0"),
        ({"pixels": torch.full((1, 3, 4, 4), math.nan)}, "NaN"),
        ({"pixels": torch.zeros(3, 4, 4)}, "b c h w"),
        ({"mask": torch.zeros(1, 1, 4, 4)}, "black everywhere.*disconnect"),
        ({"mask": torch.full((1, 1, 4, 4), 2.0)}, r"values in \[0, 1\]"),
        ({"mask": torch.zeros(1, 4, 4)}, "b 1 h w"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InitImage(**{"pixels": torch.zeros(1, 3, 4, 4), **settings})


def test_a_batch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 pictures in init_image for a batch of 3"):
        InitImage(pixels=torch.zeros(2, 3, 4, 4)).fitted(3, (4, 4))
