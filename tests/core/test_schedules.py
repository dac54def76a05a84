"""Do schedules keep their promises, and equal the papers' formulas and diffusers' tables?"""

import math

import pytest
import torch
from diffusers import DDPMScheduler

from imagen_core.schedules import SCHEDULES
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.schedules.linear import LinearSchedule

T = torch.linspace(0, 1, 1001, dtype=torch.float64)
SOME = [*(schedule() for schedule in SCHEDULES.values()), CosineSchedule(shift=-2.0), DiscreteSchedule(betas="linear")]


@pytest.mark.parametrize("schedule", SOME, ids=repr)
def test_decreases_stays_finite_and_inverts(schedule):
    logsnr = schedule.logsnr(T)
    assert torch.isfinite(logsnr).all()
    assert (logsnr.diff() < 0).all()
    torch.testing.assert_close(schedule.logsnr_to_t(logsnr), T, rtol=0, atol=1e-9)
    assert schedule.logsnr_to_t(torch.tensor([99.0, -99.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("schedule", SOME, ids=repr)
def test_alpha_and_sigma(schedule):
    alpha, sigma = schedule.alpha_sigma(T)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(T), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.log(alpha**2 / sigma**2), schedule.logsnr(T), rtol=0, atol=1e-6)
    assert alpha.min() > 0
    assert sigma.min() > 0


@pytest.mark.parametrize("schedule", SOME, ids=repr)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_keeps_shape_and_dtype_and_computes_in_float64(schedule, shape):
    t = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for value in (schedule.logsnr(t), *schedule.alpha_sigma(t), schedule.network_time(t), schedule.logsnr_to_t(t)):
        assert value.shape == shape
        assert value.dtype == torch.float32
    assert torch.equal(schedule.logsnr(t), schedule.logsnr(t.double()).float())


def test_cosine_is_a_cosine():
    alpha, sigma = CosineSchedule().alpha_sigma(T)
    torch.testing.assert_close(alpha, torch.cos(0.5 * math.pi * T), rtol=0, atol=1e-4)
    torch.testing.assert_close(sigma, torch.sin(0.5 * math.pi * T), rtol=0, atol=1e-4)
    ends = CosineSchedule(shift=1.5, logsnr_min=-15, logsnr_max=12).logsnr(T[[0, -1]])
    torch.testing.assert_close(ends, torch.tensor([12.0, -15.0]).double())


def test_shift_adds_to_the_logsnr():
    middle = T[100:901]
    plain, shifted = CosineSchedule().logsnr(middle), CosineSchedule(shift=-2.77).logsnr(middle)
    torch.testing.assert_close(shifted, plain - 2.77, rtol=0, atol=2e-3)


def test_linear_is_the_continuous_form_of_the_discrete_betas():
    discrete = DDPMScheduler(beta_schedule="linear").alphas_cumprod.double()
    t = (torch.arange(1000) + 1).double() / 1000
    difference = LinearSchedule().logsnr(t) - torch.log(discrete / (1 - discrete))
    # At the end the discrete product differs by sum(beta^2) / 2 = 0.067, at the start by the first beta's half step.
    assert difference.abs().max() < 0.1


@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_discrete_tables_equal_diffusers(betas):
    ours, theirs = DiscreteSchedule(betas=betas), DDPMScheduler(beta_schedule=betas)
    torch.testing.assert_close(ours.beta_table.float(), theirs.betas, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(ours.alpha_bar_table.float(), theirs.alphas_cumprod, rtol=5e-5, atol=0)
    alpha, sigma = ours.alpha_sigma(torch.arange(1000).double() / 999)
    torch.testing.assert_close(alpha**2, ours.alpha_bar_table, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close((sigma**2).float(), 1 - theirs.alphas_cumprod, rtol=1e-2, atol=1e-6)
    posterior = torch.stack([theirs._get_variance(t, variance_type="fixed_small") for t in range(1, 1000)])
    torch.testing.assert_close(ours.posterior_variance_table[1:].float(), posterior, rtol=5e-3, atol=1e-8)
    assert ours.posterior_variance_table[0] == 0


def test_network_time():
    t = torch.tensor([0.0, 0.5, 1.0])
    assert CosineSchedule().network_time(t).tolist() == [0, 500, 1000]
    assert DiscreteSchedule().network_time(t).tolist() == [0, 499.5, 999]


def test_snap_gives_different_integers():
    schedule = DiscreteSchedule(num_timesteps=10)
    snapped = schedule.snap(torch.tensor([0.99, 0.98, 0.97, 0.02, 0.01, 0.0]))
    assert (snapped * 9).round().tolist() == [9, 8, 7, 2, 1, 0]
    torch.testing.assert_close(snapped * 9, (snapped * 9).round())
    assert torch.equal(CosineSchedule().snap(T), T)
    assert (schedule.snap(torch.linspace(1, 0, 10)) * 9).round().tolist() == list(range(9, -1, -1))
    with pytest.raises(ValueError, match="11 calls.*10 timesteps"):
        schedule.snap(torch.linspace(1, 0, 11))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="squaredcos_cap_v2"):
        DiscreteSchedule(betas="quadratic")
    with pytest.raises(ValueError, match="num_timesteps"):
        DiscreteSchedule(num_timesteps=1)
    with pytest.raises(ValueError, match="logsnr_min"):
        CosineSchedule(logsnr_min=3, logsnr_max=-3)
    with pytest.raises(ValueError, match="logsnr_min"):
        LinearSchedule(logsnr_min=3, logsnr_max=-3)
