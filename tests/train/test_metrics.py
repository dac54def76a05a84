"""Do the metrics measure what they say? Closed forms."""

from __future__ import annotations

import pytest
import torch

from imagen_train.classifier import Classifier
from imagen_train.metrics import (
    bicubic,
    edge_width,
    feature_distance,
    frechet_distance,
    psnr,
)


def test_frechet_distance_closed_form():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 6, generator=generator)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 2) == pytest.approx(6 * 4, rel=1e-6)
    y = 3 * torch.randn(4000, 6, generator=generator)  # N(0, 1) to N(0, 9): (3 - 1)^2 a dimension
    assert frechet_distance(x, y) == pytest.approx(6 * 4, rel=0.05)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    few = torch.randn(5, 6, generator=generator)  # fewer samples than dimensions: singular, still finite
    assert 0 <= frechet_distance(few, x) < 100
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(x[:1], x)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_edge_width_of_a_ramp_is_its_length(width):
    step = torch.where(torch.arange(40) < 20, -0.8, 0.7).expand(1, 3, 24, 40)
    ramp = -0.8 + 1.5 * ((torch.arange(40) - 19) / width).clamp(0, 1).expand(1, 3, 24, 40)
    assert torch.allclose(edge_width(ramp, step), torch.tensor([float(width)]))
    turned = edge_width(ramp.transpose(2, 3), step.transpose(2, 3))
    assert torch.allclose(turned, torch.tensor([float(width)]))


def test_a_picture_without_edges_has_no_edge_width():
    assert edge_width(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)).isnan().all()


def test_psnr_closed_form():
    truth = torch.zeros(2, 3, 4, 4)
    assert psnr(truth + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1), truth).tolist() == pytest.approx([20.0, 40.0])


def test_bicubic_keeps_flat_and_size():
    assert torch.allclose(bicubic(torch.full((1, 3, 4, 6), 0.5)), torch.full((1, 3, 16, 24), 0.5), atol=1e-6)


def test_feature_distance_grows_with_blur_and_is_zero_for_equal():
    torch.manual_seed(0)
    model, truth = Classifier().eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    small = torch.nn.functional.avg_pool2d(truth, 2)
    blurred, more = bicubic(small, 2), bicubic(torch.nn.functional.avg_pool2d(truth, 8), 8)
    near, far = feature_distance(model, blurred, truth), feature_distance(model, more, truth)
    assert (feature_distance(model, truth, truth) == 0).all() and (near > 0).all() and (far > near).all()
