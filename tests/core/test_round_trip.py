"""Are the figures of a round trip those of errors that are known, and does its aug_level put as much noise on a picture?"""

import math

import pytest
import torch

from imagen_core.round_trip import BANDS, matching_aug_level, measure_round_trip
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.super_resolution import augment


def wave(cycles, side=64):
    """(1 3 side side): a cosine of so many cycles a row, of mean square 1/2."""
    return torch.cos(2 * math.pi * cycles * torch.arange(side) / side).expand(1, 3, side, side).clone()


def test_what_comes_back_as_it_was_lost_nothing():
    picture = torch.rand(2, 3, 16, 24) * 2 - 1
    found = measure_round_trip(picture, picture)
    assert found.psnr.tolist() == [math.inf, math.inf]
    assert found.error.shape == (2, 1, 16, 24) and found.bands.shape == (2, len(BANDS))
    for figure in (found.error, found.bands, found.lost, found.edges):
        assert not figure.any()
    torch.testing.assert_close(found.kept, torch.ones(2, 5))
    assert matching_aug_level(picture, picture) == 0.0


@pytest.mark.parametrize("cycles, band", [(1, 0), (3, 1), (6, 2), (12, 3), (28, 4)])
def test_an_error_is_found_in_its_band(cycles, band):
    """A wave at half its height: half the slopes, half the amplitude, a quarter of the energy, nothing elsewhere."""
    picture = wave(cycles)
    found = measure_round_trip(picture, picture / 2)
    expected = torch.zeros(5)
    expected[band] = math.sqrt(1 / 8)
    torch.testing.assert_close(found.bands[0], expected, atol=1e-6, rtol=0)
    assert found.lost[0, band].item() == pytest.approx(0.5) and found.kept[0, band].item() == pytest.approx(0.25)
    assert found.edges.item() == pytest.approx(0.5)
    assert found.psnr.item() == pytest.approx(10 * math.log10(4 * 8), abs=1e-4)


def test_bands_add_up_to_the_error_and_one_pixel_is_where_it_is():
    before, after = torch.rand(2, 3, 20, 31), torch.rand(2, 3, 20, 31)
    found = measure_round_trip(before, after)
    torch.testing.assert_close(found.bands.square().sum(1), (after - before).square().mean((1, 2, 3)))
    after = before.clone()
    after[1, :, 7, 5] += 0.25
    error = measure_round_trip(before, after).error
    assert error[1, 0, 7, 5].item() == pytest.approx(0.25, abs=1e-6) and error.count_nonzero() == 1


def test_what_came_of_nothing_is_infinite():
    found = measure_round_trip(torch.zeros(1, 3, 32, 32), wave(8, 32))
    assert found.edges.item() == math.inf and found.kept[0, 3].item() == math.inf and found.kept[0, 0].item() == 1.0


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.5])
def test_the_level_puts_as_much_noise_on_the_picture_as_the_error_was(strength):
    torch.manual_seed(0)
    picture = torch.rand(4, 3, 64, 64) * 2 - 1
    schedule = CosineSchedule(logsnr_min=-12.0, logsnr_max=12.0)
    level = matching_aug_level(picture, picture + strength * torch.randn(picture.shape), schedule=schedule)
    alpha, _ = schedule.alpha_sigma(torch.tensor([level]))
    noised = augment(picture, torch.full((4,), level), schedule, torch.randn(picture.shape)) / alpha
    assert (noised - picture).std().item() == pytest.approx(strength, rel=0.03)


def test_a_stage_that_sees_less_of_the_error_needs_less_noise():
    picture = torch.zeros(1, 3, 64, 64)
    damaged = picture + 0.2 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    whole, small = matching_aug_level(picture, damaged), matching_aug_level(picture, damaged, side=16)
    assert small == pytest.approx(whole / 4, rel=0.1)


@pytest.mark.parametrize("after", [torch.zeros(1, 3, 8, 9), torch.zeros(3, 8, 8)])
def test_other_shapes_are_refused(after):
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).*cannot be compared"):
        measure_round_trip(torch.zeros(1, 3, 8, 8), after)
