"""Are the pictures for super-resolution sound: in range, repeatable, varied, full of detail?"""

import pytest
import torch

from imagen_train.scenes.textures import sample_textures


def test_format_and_determinism():
    first, again, other = sample_textures(7, 32, 3), sample_textures(7, 32, 3), sample_textures(7, 32, 4)
    assert first.shape == (7, 3, 32, 32) and first.dtype == torch.float32
    assert first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_pictures_differ_and_none_is_blank():
    pictures = sample_textures(40, 32, 0)
    flat = pictures.flatten(1)
    assert (torch.cdist(flat, flat) + 1e3 * torch.eye(40)).min() > 1
    assert (pictures.flatten(2).std(2).amax(1) > 0.02).float().mean() > 0.95


def test_detail_is_lost_by_shrinking():
    pictures = sample_textures(40, 64, 1)
    small = torch.nn.functional.avg_pool2d(pictures, 4)
    back = torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic")
    assert (pictures - back).abs().mean() > 0.03


@pytest.mark.parametrize(("count", "side"), [(0, 32), (3, 2)])
def test_senseless_requests_are_refused(count, side):
    with pytest.raises(ValueError, match="at least"):
        sample_textures(count, side, 0)
