"""Do thresholds equal the paper's formula, done slowly, and torch.quantile where that works?"""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imagen_core.thresholding import THRESHOLDINGS
from imagen_core.thresholding.dynamic import DynamicThresholding, abs_quantile
from imagen_core.thresholding.none import NoThresholding
from imagen_core.thresholding.static import StaticThresholding


def pictures(*shape: int, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def slow_dynamic(x_0: torch.Tensor, percentile: float, maximum: float) -> torch.Tensor:
    """Imagen, section 2.3, one image and one Python float at a time."""
    done = []
    for image in x_0.double():
        ordered = sorted(abs(value) for value in image.flatten().tolist())
        rank = percentile * (len(ordered) - 1)
        low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        s = min(max(low + (high - low) * (rank - math.floor(rank)), 1.0), maximum)
        done.append(torch.tensor([min(max(v, -s), s) / s for v in image.flatten().tolist()]).reshape(image.shape))
    return torch.stack(done)


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95, 0.995, 1.0])
@pytest.mark.parametrize("maximum", [None, 1.0, 1.5])
def test_dynamic_equals_the_slow_version(percentile, maximum):
    x_0 = pictures(3, 3, 9, 7) * torch.tensor([0.2, 1.0, 3.0]).reshape(3, 1, 1, 1)
    ours = DynamicThresholding(percentile=percentile, maximum=maximum)(x_0)
    torch.testing.assert_close(ours, slow_dynamic(x_0, percentile, maximum or math.inf), rtol=2e-6, atol=2e-6)
    assert ours.dtype == torch.float32
    assert ours.abs().max() <= 1.0


@pytest.mark.parametrize("q", [0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.995, 0.9999, 1.0])
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 1, 2), (2, 3, 8, 8), (2, 3, 61, 67)])
def test_quantile_equals_torch(q, shape):
    x = pictures(*shape).double()
    torch.testing.assert_close(abs_quantile(x, q), torch.quantile(x.abs().flatten(1), q, dim=1), rtol=0, atol=1e-12)


def test_pictures_in_range_are_left_alone():
    x_0 = pictures(2, 3, 8, 8).clamp(-1, 1)
    for thresholding in THRESHOLDINGS.values():
        assert torch.equal(thresholding()(x_0), x_0)


def test_static_and_none():
    x_0 = pictures(2, 3, 8, 8)
    assert torch.equal(StaticThresholding()(x_0), torch.clip(x_0, -1, 1))
    assert torch.equal(NoThresholding()(x_0), x_0)
    assert torch.equal(DynamicThresholding(maximum=1.0)(x_0), torch.clip(x_0, -1, 1))


@pytest.mark.parametrize("name", THRESHOLDINGS)
def test_every_image_by_itself(name):
    x_0 = pictures(3, 3, 8, 8) * torch.tensor([1.0, 5.0, 0.1]).reshape(3, 1, 1, 1)
    thresholding = THRESHOLDINGS[name]()
    assert torch.equal(torch.cat([thresholding(image) for image in x_0.split(1)]), thresholding(x_0))


def test_more_values_than_torch_quantile_takes():
    x_0 = torch.full((1, 1, 4097, 4096), 0.5)  # 2^24 + 4096 values; torch.quantile refuses more than 2^24
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(x_0.flatten(), 0.995)
    changed = x_0.numel() // 100
    x_0.view(-1)[:changed] = 4.0
    thresholded = DynamicThresholding()(x_0).view(-1)
    assert thresholded[0] == 1.0
    assert thresholded[-1] == 0.125


def test_costs_a_fraction_of_a_sort_at_1024():
    ordered = {}

    class Watch(TorchDispatchMode):
        """Counts the values that each operation which orders them hands out."""

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if any(word in str(operation) for word in ("sort", "topk", "kthvalue", "quantile", "median")):
                ordered[str(operation)] = result[0].numel()
            return result

    magnitude = pictures(1, 3, 1024, 1024).abs().flatten(1)
    with Watch():
        abs_quantile(magnitude, 0.995)
    assert 0 < sum(ordered.values()) < 0.006 * magnitude.numel()


def test_bad_settings_are_refused():
    for percentile in (0.0, 99.5, -1.0):
        with pytest.raises(ValueError, match="percentile"):
            DynamicThresholding(percentile=percentile)
    with pytest.raises(ValueError, match="maximum"):
        DynamicThresholding(maximum=0.5)
