"""Are k-diffusion's sigmas and our times the same levels of noise, in both directions and within our samplers' range?"""

import pytest
import torch

from imagen_core.samplers.spacing import time_grid
from imagen_core.schedules import SCHEDULES
from imagen_core.variance_exploding import sigma_ve_table, sigma_ve_to_t, t_to_sigma_ve


@pytest.fixture(params=sorted(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]()


def test_sigma_is_that_of_x_divided_by_alpha(schedule):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    alpha, sigma = schedule.alpha_sigma(t)
    torch.testing.assert_close(t_to_sigma_ve(schedule, t), sigma / alpha)
    torch.testing.assert_close(sigma_ve_to_t(schedule, sigma / alpha), t)


def test_levels_beyond_the_schedule_are_its_ends(schedule):
    assert sigma_ve_to_t(schedule, torch.tensor([1e-9, 1e9])).tolist() == [0.0, 1.0]


def test_the_table_rises_between_the_ends_of_our_own_grids(schedule):
    table = sigma_ve_table(schedule)
    assert len(table) == 1000 and (table.diff() > 0).all()
    own = t_to_sigma_ve(schedule, time_grid(schedule, 5, "logsnr"))
    assert table[-1] == pytest.approx(own[0].item(), rel=0.1)  # a discrete grid snaps to its timesteps
    assert table[0] == pytest.approx(own[-1].item(), rel=0.1)
