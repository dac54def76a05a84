"""Does resizing keep content in place and free of aliasing, and does augmentation keep the variance?"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.linear import LinearSchedule
from imagen_core.super_resolution import augment, resize


def centroid(image):
    """Centre of mass (y, x) as a share of height and width, of (1 1 h w)."""
    mass = image[0, 0] / image.sum()
    ys, xs = ((torch.arange(n) + 0.5) / n for n in mass.shape)
    return (mass.sum(1) * ys).sum(), (mass.sum(0) * xs).sum()


def blob(side):
    ys, xs = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    return torch.exp(-(((ys - 0.4) ** 2 + (xs - 0.55) ** 2) / 0.005))[None, None]


@pytest.mark.parametrize("size", [(256, 256), (64, 64), (16, 16), (100, 37), (50, 90), (64, 256), (23, 64)])
def test_content_stays_where_it_is(size):
    before, after = centroid(blob(64)), centroid(resize(blob(64), size))
    for a, b, n in zip(before, after, size, strict=True):
        assert abs(a - b) * n < 0.02  # of a pixel


@pytest.mark.parametrize("size", [(256, 200), (16, 20), (7, 90), (1, 1)])
def test_flat_stays_flat_and_range_is_kept(size):
    torch.testing.assert_close(resize(torch.full((1, 3, 64, 64), -0.7), size), torch.full((1, 3, *size), -0.7))
    assert resize(torch.rand(1, 3, 64, 64) * 2 - 1, size).abs().max() <= 1


def test_shrinking_is_by_area():
    image = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(resize(image, (16, 24)), F.avg_pool2d(image, 4))
    torch.testing.assert_close(resize(image, (24, 36)).mean((2, 3)), image.mean((2, 3)))  # fractional factors too


def test_growing_is_bilinear_at_pixel_centres():
    image = torch.rand(2, 3, 8, 12)
    expected = F.interpolate(image, size=(32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(image, (32, 48)), expected)


def test_shrinking_does_not_alias():
    """A zone plate's fine rings average out; picking pixels would keep their variance."""
    ys, xs = torch.meshgrid(*[torch.arange(256) - 127.5] * 2, indexing="ij")
    plate = torch.cos(torch.pi * (ys**2 + xs**2) / 256)[None, None]
    picked = plate[..., ::4, ::4].var()
    assert resize(plate, (64, 64)).var() < 0.15 * picked


def test_same_size_is_the_same_picture():
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(resize(image, (8, 8)), image)


def test_resize_refuses_nothing_sensible():
    with pytest.raises(ValueError, match="b c h w"):
        resize(torch.zeros(3, 8, 8), (4, 4))
    with pytest.raises(ValueError, match="1x1"):
        resize(torch.zeros(1, 3, 8, 8), (0, 4))


@pytest.mark.parametrize("schedule", [CosineSchedule(), LinearSchedule()])
def test_augmentation_keeps_variance(schedule):
    generator = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(5, 3, 128, 128, generator=generator) for _ in range(2))
    level = torch.tensor([0.0, 0.1, 0.3, 0.7, 1.0])
    noised = augment(image, level, schedule, noise)
    torch.testing.assert_close(noised.var(dim=(1, 2, 3)), torch.ones(5), atol=0.03, rtol=0)
    alpha, sigma = schedule.alpha_sigma(level)
    expected = alpha[2].float() * image[2] + sigma[2].float() * noise[2]
    torch.testing.assert_close(noised[2], expected, atol=1e-5, rtol=1e-5)


def test_level_zero_is_the_very_picture():
    image, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    noised = augment(image, torch.tensor([0.0, 0.5]), CosineSchedule(), noise)
    assert torch.equal(noised[0], image[0]) and not torch.equal(noised[1], image[1])


def test_augment_names_a_bad_level():
    image = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        augment(image, torch.tensor([0.5, 1.5]), CosineSchedule(), image)
    with pytest.raises(ValueError, match="one level an image"):
        augment(image, torch.tensor(0.5), CosineSchedule(), image)
