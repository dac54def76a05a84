"""Is thresholding by a mimicked range the paper's in pixels, an identity in range, and bounded by what it mimics?"""

import math

import pytest
import torch

from imagen_core import GuidedThresholding, progress_at, rescale_guidance
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.predictor import Point
from imagen_core.progress import CURVES, strength_at
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding.dynamic import DynamicThresholding
from imagen_core.thresholding.mimic import threshold_like


def noise(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def apply(x_0, cond, null, *, guidance_scale=15.0, progress=0.5, **choices):
    return GuidedThresholding(**choices)(x_0, cond, null, guidance_scale=guidance_scale, progress=progress)


def guided(cond, null, scale):
    return null + scale * (cond - null)


def one_image_slowly(x_0, reference, percentile, maximum):
    """The docstring of threshold_like in Python floats, for one image (c h w), jointly over channels."""
    means = reference.mean(dim=(1, 2))
    d, r = ((picture - means[:, None, None]).flatten().tolist() for picture in (x_0, reference))

    def quantile(values):
        ordered = sorted(map(abs, values))
        rank = percentile * (len(ordered) - 1)
        low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        return low + (high - low) * (rank - math.floor(rank))

    edge = quantile(r)
    s = min(max(quantile(d), edge), maximum * edge)
    e = max(map(abs, r))
    clipped = torch.tensor([min(max(value * edge / s, -e), e) for value in d]).reshape(x_0.shape)
    return clipped + means[:, None, None]


@pytest.mark.parametrize("percentile", [0.5, 0.95, 0.995, 1.0])
@pytest.mark.parametrize("maximum", [None, 1.0, 1.5])
def test_it_equals_the_slow_version(percentile, maximum):
    reference = noise(3, 4, 8, 7, seed=1) + torch.tensor([1.0, 0.0, -2.0, 0.3])[:, None, None]
    x_0 = noise(3, 4, 8, 7, seed=2) * torch.tensor([0.5, 2.0, 6.0]).reshape(3, 1, 1, 1) + 0.2
    ours = threshold_like(x_0, reference, percentile=percentile, maximum=maximum)
    slow = [one_image_slowly(*pair, percentile, maximum or math.inf) for pair in zip(x_0, reference, strict=True)]
    torch.testing.assert_close(ours, torch.stack(slow), rtol=2e-5, atol=2e-6)


def test_a_reference_that_fills_minus_one_to_one_gives_the_papers_formula():
    reference = torch.tensor([-1.0, 1.0]).repeat(2, 3, 32).reshape(2, 3, 8, 8)  # mean 0, every |value| 1
    x_0 = noise(2, 3, 8, 8, scale=3.0)
    torch.testing.assert_close(
        threshold_like(x_0, reference, percentile=0.95), DynamicThresholding(percentile=0.95)(x_0)
    )


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 16, 3, 4, 4), (1, 64, 20)])
def test_a_prediction_in_range_is_left_alone_and_none_leaves_it(shape, per_channel):
    reference = noise(*shape) + 1.0
    same = threshold_like(reference, reference, percentile=0.9, per_channel=per_channel)
    torch.testing.assert_close(same, reference)
    strong = threshold_like(reference * 9.0 - 4.0, reference, percentile=0.9, per_channel=per_channel)
    means = reference.mean(dim=tuple(range(2, len(shape))), keepdim=True)
    extreme = (reference - means).abs().flatten(1).amax(1)
    assert ((strong - means).abs().flatten(1).amax(1) <= extreme * (1 + 1e-6)).all()


def test_per_channel_keeps_a_quiet_channel_that_joint_dims():
    reference = noise(1, 2, 16, 16)
    x_0 = reference.clone()
    x_0[:, 1] *= 8.0
    joint = threshold_like(x_0, reference, percentile=0.995)
    apart = threshold_like(x_0, reference, percentile=0.995, per_channel=True)
    torch.testing.assert_close(apart[:, 0], reference[:, 0])
    assert joint[:, 0].std() < 0.5 * reference[:, 0].std()


def test_the_flat_picture_stays_flat():
    flat = torch.full((1, 4, 4, 4), 0.3)
    torch.testing.assert_close(threshold_like(flat, flat, percentile=0.995), flat)
    torch.testing.assert_close(threshold_like(flat + 1.0, flat, percentile=0.995), flat)


@pytest.mark.parametrize("choices", [{"method": "none"}, {"mimic_scale": 15.0}, {"start": 0.6}, {"end": 0.4}])
def test_where_there_is_nothing_to_do_the_very_tensor_comes_back(choices):
    cond, null = noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=1)
    x_0 = guided(cond, null, 15.0)
    assert apply(x_0, cond, null, **choices) is x_0


def test_without_an_unconditional_pass_latents_stay_and_pixels_are_thresholded():
    x_0 = noise(2, 3, 8, 8, scale=3.0)
    assert apply(x_0, x_0, None, guidance_scale=1.0) is x_0
    pixels = apply(x_0, x_0, None, guidance_scale=1.0, space="pixel")
    assert torch.equal(pixels, DynamicThresholding()(x_0))


@pytest.mark.parametrize("method, maximum", [("dynamic", None), ("dynamic", 1.5), ("static", 7.0)])
def test_pixels_get_the_papers_thresholding_without_conversion(method, maximum):
    x_0 = noise(2, 3, 8, 8, scale=3.0)
    ours = apply(x_0, x_0, x_0, space="pixel", method=method, percentile=0.9, maximum=maximum)
    expected = x_0.clamp(-1, 1) if method == "static" else DynamicThresholding(percentile=0.9, maximum=maximum)(x_0)
    assert torch.equal(ours, expected)
    each = apply(x_0, x_0, x_0, space="pixel", percentile=0.9, per_channel=True)
    assert torch.equal(each[:, :1], DynamicThresholding(percentile=0.9)(x_0[:, :1]))


def test_latents_are_held_to_the_mimicked_range():
    cond, null = noise(2, 4, 16, 16), noise(2, 4, 16, 16, seed=1)
    reference, x_0 = guided(cond, null, 5.0), guided(cond, null, 30.0)
    held = apply(x_0, cond, null, guidance_scale=30.0, mimic_scale=5.0)
    torch.testing.assert_close(held, threshold_like(x_0, reference, percentile=0.995), rtol=1e-4, atol=1e-4)
    assert held.std() < 1.2 * reference.std() < 0.5 * x_0.std()


def test_half_precision_comes_back_in_kind():
    cond, null = noise(1, 4, 8, 8).half(), noise(1, 4, 8, 8, seed=1).half()
    assert apply(guided(cond, null, 15.0), cond, null).dtype == torch.float16


@pytest.mark.parametrize("curve", CURVES)
def test_strength_starts_full_and_ends_as_the_curve_says(curve):
    ends = {"constant": 1.0, "linear": 0.0, "cosine": 0.0}
    assert strength_at(0.2, 0.2, 0.8, curve) == 1.0
    assert strength_at(0.8, 0.2, 0.8, curve) == pytest.approx(ends[curve], abs=1e-12)
    assert strength_at(0.19, 0.2, 0.8, curve) == strength_at(0.81, 0.2, 0.8, curve) == 0.0
    assert strength_at(0.5, 0.2, 0.8, curve) == pytest.approx({"constant": 1.0}.get(curve, 0.5))


def test_a_faded_threshold_lies_between():
    cond, null = noise(1, 4, 8, 8), noise(1, 4, 8, 8, seed=1)
    x_0 = guided(cond, null, 15.0)
    full = apply(x_0, cond, null, progress=0.0, curve="linear")
    half = apply(x_0, cond, null, progress=0.5, curve="linear")
    torch.testing.assert_close(half, 0.5 * (x_0 + full))


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_progress_is_the_inverse_of_the_hosts_function(progress):
    def sigma(p):  # the ends as ComfyUI's discrete models answer them
        return 1e9 if p <= 0.0 else 0.0 if p >= 1.0 else math.tan(0.499 * math.pi * (1.0 - p))

    assert progress_at(sigma(progress), sigma) == pytest.approx(progress, abs=1e-6)


@pytest.mark.parametrize(
    "choices", [{"method": "mimic"}, {"space": "x"}, {"curve": "x"}, {"start": 0.9, "end": 0.1}, {"percentile": 0.0},
                {"maximum": 0.5}],
)  # fmt: skip
def test_bad_choices_are_refused(choices):
    with pytest.raises(ValueError, match="expected|outside|below"):
        GuidedThresholding(**choices)


def test_rescale_is_the_guidances_own():
    cond, null = noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=1)
    at = Point.on(CosineSchedule(), cond, torch.tensor(0.5))
    own = ClassifierFreeGuidance(scale=9.0, rescale=0.7).combine({"cond": cond, "null": null}, at)
    assert torch.equal(rescale_guidance(null.lerp(cond, 9.0), cond, 0.7), own)
    full = rescale_guidance(null.lerp(cond, 9.0), cond, 1.0)
    torch.testing.assert_close(full.std(dim=(1, 2, 3)), cond.std(dim=(1, 2, 3)))
