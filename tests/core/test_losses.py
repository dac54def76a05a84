"""Is a learned variance taught what Improved DDPM teaches it, and are times drawn by importance without a bias?"""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from imagen_core.importance import ImportanceTimes
from imagen_core.losses import diffusion_loss, image_losses, variance_loss
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule

LINEAR = DiscreteSchedule(betas="linear")
SHAPE = (4, 3, 5, 5)


def noisy(seed=0):
    """(x_0, what is predicted of it, noise), float64, x_0 on 8-bit levels."""
    generator = torch.Generator().manual_seed(seed)
    x_0 = torch.randint(0, 256, SHAPE, generator=generator).double() / 127.5 - 1.0
    one, other = (torch.randn(SHAPE, generator=generator).double() for _ in range(2))
    return x_0, x_0 + 0.1 * one, other


@pytest.mark.parametrize("v", [-1.0, -0.3, 1.0])
@pytest.mark.parametrize("timestep", [1, 250, 999])
def test_a_term_is_the_divergence_between_the_two_steps(timestep, v):
    """Written down once more from the tables of beta, with torch's own divergence of two Gaussians."""
    x_0, predicted, noise = noisy()
    beta, bar = LINEAR.beta_table[timestep], LINEAR.alpha_bar_table[timestep]
    before, small = LINEAR.alpha_bar_table[timestep - 1], LINEAR.posterior_variance_table[timestep]
    x_t = bar.sqrt() * x_0 + (1 - bar).sqrt() * noise

    def step(clean, variance):
        mean = before.sqrt() * beta / (1 - bar) * clean + (1 - beta).sqrt() * (1 - before) / (1 - bar) * x_t
        return Normal(mean, variance.sqrt())

    learned = step(predicted, (beta.log() * (v + 1) / 2 + small.log() * (1 - v) / 2).exp())
    expected = kl_divergence(step(x_0, small), learned).mean((1, 2, 3)) / math.log(2)
    times = torch.full((len(x_0),), timestep / 999, dtype=torch.float64)
    found = variance_loss(torch.full(SHAPE, v).double(), predicted, x_0, x_t, times, LINEAR)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    assert found.min() > 0.0


def test_the_last_term_is_how_likely_the_levels_are():
    """The probabilities of all 256 levels add up to one, and the likeliest has the bits that a Gaussian gives it."""
    levels = torch.arange(256).double() / 127.5 - 1.0
    mean, first = torch.full((1, 1, 1, 1), 0.3).double(), torch.zeros(1, dtype=torch.float64)
    bits = [variance_loss(-torch.ones_like(mean), mean, level.expand_as(mean), mean, first, LINEAR) for level in levels]
    assert torch.exp2(-torch.cat(bits)).sum().item() == pytest.approx(1.0, abs=1e-6)
    gaussian = Normal(mean, LINEAR.posterior_variance_table[1].sqrt())
    nearest = levels[(levels - 0.3).abs().argmin()]
    likely = gaussian.cdf(nearest + 1 / 255) - gaussian.cdf(nearest - 1 / 255)
    assert min(bits).item() == pytest.approx(-math.log2(likely.item()), rel=1e-6)


@pytest.mark.parametrize("schedule", [LINEAR, CosineSchedule()], ids=lambda schedule: schedule.name)
def test_the_best_variance_is_the_posteriors_and_the_squared_error_of_the_mean(schedule):
    """There the gradient in v is zero: log variance = log(posterior + error^2), the minimum in closed form."""
    x_0, _, noise = noisy()
    t = torch.full((len(x_0),), 600 / 999, dtype=torch.float64)
    s = t - (1 / 999 if schedule is LINEAR else 1 / 1000)
    (alpha, sigma), (alpha_s, sigma_s) = schedule.alpha_sigma(t[0]), schedule.alpha_sigma(s[0])
    newer = 1 - (alpha * sigma_s / (sigma * alpha_s)) ** 2
    small, large = sigma_s**2 * newer, sigma**2 * newer
    error = ((small * large).sqrt() - small).sqrt()  # of the mean, so that the best is half way between the two
    x_t = alpha * x_0 + sigma * noise

    def slope(v):
        v = torch.full_like(x_0, v).requires_grad_()
        variance_loss(v, x_0 + error / (newer * alpha_s), x_0, x_t, t, schedule).sum().backward()
        return v.grad

    assert slope(0.0).abs().max() < 1e-3 * slope(0.5).min()
    assert slope(-0.5).max() < 0.0 < slope(0.5).min()


def losses(weights, times, **settings):
    x_0, _, noise = (part.float() for part in noisy())
    return image_losses(
        lambda x_t, time: torch.cat([weights[0] * x_t, weights[1] * x_t], dim=1),
        x_0,
        schedule=LINEAR,
        prediction_type="eps",
        times=times,
        noise=noise,
        weighting="eps",
        **settings,
    )


def test_the_hybrid_loss_teaches_the_variance_and_leaves_the_picture_to_the_error():
    times, weights = torch.tensor([0.0, 0.2, 0.5, 1.0]), torch.tensor([0.7, 0.2], requires_grad=True)
    (simple,) = torch.autograd.grad(losses(weights, times).mean(), weights)
    (hybrid,) = torch.autograd.grad(losses(weights, times, hybrid=1.0).mean(), weights)
    assert simple[1] == 0.0 and hybrid[0] == simple[0] and hybrid[1] != 0.0


def test_a_hybrid_loss_asks_for_a_variance():
    settings = {"schedule": LINEAR, "prediction_type": "eps", "times": torch.rand(4), "noise": torch.zeros(SHAPE)}
    with pytest.raises(ValueError, match="3 channels more"):
        image_losses(lambda x_t, time: x_t, torch.zeros(SHAPE), **settings, hybrid=1.0)


def test_the_losses_of_images_are_those_of_the_batch():
    x_0, _, noise = (part.float() for part in noisy())
    settings = {"schedule": CosineSchedule(), "prediction_type": "v", "times": torch.rand(4), "noise": noise}
    settings |= {"image_weight": torch.rand(4)}
    one, each = (call(lambda x_t, time: 0.3 * x_t, x_0, **settings) for call in (diffusion_loss, image_losses))
    torch.testing.assert_close(each.mean(), one)


def full(bins=4):
    """Losses 1, 2, 3 and 4 of the four bins, after older ones that are forgotten."""
    times, centres = ImportanceTimes(bins, 2), (torch.arange(bins) + 0.5) / bins
    for losses in (torch.full((bins,), 99.0), *[torch.arange(1.0, bins + 1)] * 2):
        times.update(centres, losses)
    return times


def test_times_are_drawn_by_the_root_of_the_mean_square():
    times = ImportanceTimes(4, 2)
    times.update(torch.tensor([0.1, 0.9, 0.9]), torch.tensor([5.0, 1.0, 1.0]))
    assert times.probabilities().tolist() == [0.25] * 4, "until every bin has as many as are kept"
    expected = 0.999 * torch.tensor([1.0, 2, 3, 4]).double() / 10 + 0.001 / 4
    torch.testing.assert_close(full().probabilities(), expected)
    restored = ImportanceTimes(4, 2)
    restored.load_state_dict(full().state_dict())
    torch.testing.assert_close(restored.probabilities(), expected)


def test_what_is_drawn_more_often_counts_less():
    """The mean of weight times f(t) is f's mean over uniform times, in each quarter as well."""
    drawn, weights = full().draw(40_000, torch.Generator().manual_seed(0))
    assert drawn.min() >= 1e-3 and drawn.max() <= 1.0
    assert (weights * drawn**2).mean().item() == pytest.approx(1 / 3, abs=0.01)
    for quarter in range(4):
        inside = (drawn * 4).long().clamp(max=3) == quarter
        assert inside.double().mean().item() == pytest.approx((quarter + 1) / 10, abs=0.01)
        assert (weights * inside).mean().item() == pytest.approx(0.25, abs=0.01)
