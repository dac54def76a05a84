"""Any list of timesteps, and DDPM's fixed variances where a network has learned one (arXiv 2102.09672, 2006.11239)."""

import pytest
import torch

from imagen_core.denoiser import Prediction
from imagen_core.samplers import RESPACINGS, time_grid
from imagen_core.samplers._base import levels
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.spacing import respace
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule

SCHEDULE = DiscreteSchedule(betas="linear")


@pytest.mark.parametrize("name", RESPACINGS)
def test_a_list_is_what_its_name_says(name):
    written = ", ".join(map(str, RESPACINGS[name]))
    assert torch.equal(time_grid(SCHEDULE, 1, written), time_grid(SCHEDULE, 1, name))


def test_one_number_is_spread_evenly():
    assert torch.equal(time_grid(SCHEDULE, 7, "250"), time_grid(SCHEDULE, 250, "uniform"))


@pytest.mark.parametrize(
    ("spacing", "message"),
    [("600,600", "600 of 500"), ("0,0", "unknown spacing"), ("10,x", "unknown spacing"), ("10,,2", "unknown spacing")],
)
def test_a_list_that_is_none_is_named(spacing, message):
    with pytest.raises(ValueError, match=message):
        time_grid(SCHEDULE, 1, spacing)


def test_a_list_needs_timesteps():
    with pytest.raises(ValueError, match="3,4 counts timesteps"):
        time_grid(CosineSchedule(), 1, "3,4")


class Learned:
    """A prediction that does not move, with a variance a third of the way or none."""

    schedule = SCHEDULE

    def __init__(self, variance):
        self.variance = variance

    def __call__(self, x_t, t):
        return Prediction(torch.zeros_like(x_t), x_t, self.variance)


def drawn(sampler, variance):
    random = torch.Generator().manual_seed(0)
    x_T = torch.randn(1, 3, 4, 4, generator=random)
    grid = levels(SCHEDULE, time_grid(SCHEDULE, 5, "uniform"))
    return sampler.advance(Learned(variance), x_T, grid, lambda: torch.randn(x_T.shape, generator=random))


def test_fixed_variances_pass_over_the_learned_one():
    third = torch.full((1, 3, 4, 4), 1 / 3)
    for gamma in (0.0, 1.0):
        fixed = DDPM(gamma=gamma, fixed=True)
        assert torch.equal(drawn(fixed, third), drawn(DDPM(gamma=gamma), None))
        assert torch.equal(drawn(DDPM(gamma=gamma), third), drawn(DDPM(), third))
    assert not torch.equal(drawn(DDPM(gamma=1.0, fixed=True), third), drawn(DDPM(), third))


def test_small_and_large_are_ddpms():
    """One step from timestep 500 to 499: beta (1 - alpha_bar_499) / (1 - alpha_bar_500), and beta itself."""
    times = torch.tensor([500, 499], dtype=torch.float64) / 999
    grid = levels(SCHEDULE, times)
    for gamma, table in ((0.0, SCHEDULE.posterior_variance_table), (1.0, SCHEDULE.beta_table)):
        sigma = DDPM(gamma=gamma)._sigma(Prediction(None, None), *grid)
        assert sigma**2 == pytest.approx(float(table[500]), rel=1e-9)


def test_a_list_in_brackets_is_called_as_it_stands():
    times = time_grid(DiscreteSchedule(), 7, "[999, 700,400, 0]")
    assert (times * 999).round().tolist() == [999, 700, 400, 0]
    assert time_grid(CosineSchedule(), 7, "[1, 0.5, 0.25]").tolist() == [1.0, 0.5, 0.25]
    evenly = "[" + ",".join(map(str, respace((50,)))) + "]"
    assert torch.equal(time_grid(DiscreteSchedule(), 1, evenly), time_grid(DiscreteSchedule(), 1, "50"))


@pytest.mark.parametrize(
    "spacing", ["[]", "[1, 2]", "[1000, 0]", "[5, 5]", "[3.5]", "[7, -1]", "[a]", "[nan]", "[9, 3"]
)
def test_a_list_in_brackets_that_is_none_is_named(spacing):
    if spacing == "[9, 3":  # a bracket forgotten
        assert len(time_grid(DiscreteSchedule(), 1, spacing)) == 2
        return
    with pytest.raises(ValueError, match="whole numbers from 999 to 0, from noisy to clean"):
        time_grid(DiscreteSchedule(), 5, spacing)
    with pytest.raises(ValueError, match="times from 1 to 0"):
        time_grid(CosineSchedule(), 5, "[999, 3]")
