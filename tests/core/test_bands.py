"""Is a picture that is enlarged in bands of rows the picture that is enlarged whole, without seams?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagen_core import Draw, Tiling, load_stage, super_resolve, super_resolve_bands
from imagen_core.bands import _strips, noise_of

SR1024 = Path(__file__).resolve().parents[2] / "models" / "imagen-mini" / "sr1024.safetensors"


@pytest.fixture(scope="module")
def stage():
    return load_stage(SR1024)


@pytest.fixture(scope="module")
def small():
    """Smooth colours, (1 3 56 16)."""
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(1, 3, 8, 4), size=(56, 16), mode="bicubic").clamp(0, 1) * 2 - 1


def banded(stage, small, tiling, **strips) -> torch.Tensor:
    asked = []

    def rows_of(rows):
        asked.append(rows)
        return small[:, :, rows]

    parts = list(super_resolve_bands(stage, rows_of, tuple(small.shape[-2:]), tiling, seed=3, steps=2, **strips))
    assert len(parts) == len(asked) and max(rows.stop - rows.start for rows in asked) <= tiling.size // 4
    return torch.cat(parts, dim=1)


def test_one_band_is_the_whole_run_and_several_are_nearly(stage, small):
    noise = noise_of(slice(0, 224), slice(0, 64), 64, 3)
    whole = super_resolve(stage, small, None, Draw(seeds=[3], steps=2, x_T=noise))[0]
    assert torch.equal(banded(stage, small, Tiling(size=224, overlap=64)), whole)
    parts = banded(stage, small, Tiling(size=96, overlap=32))
    assert parts.shape == (3, 224, 64) and (parts - whole).abs().mean() < 0.02
    rows = parts.diff(n=2, dim=1).abs().mean((0, 2))  # about row y + 1
    seams = [rows[start - 2 : start].mean() for start in (64, 96, 128, 160)]
    assert sum(seams) / 4 < 1.3 * rows.mean()


def test_strips_of_columns_are_nearly_the_whole_run_without_seams(stage, small):
    wide = small.mT.contiguous()
    tiling = Tiling(size=96, overlap=32)
    whole = banded(stage, wide, tiling)
    assert torch.equal(banded(stage, wide, tiling, strip=224), whole)
    widths = []

    def watched(x, *told):
        widths.append(x.shape[-1])

    handle = stage.unet.register_forward_pre_hook(lambda _, given: watched(*given))
    parts = banded(stage, wide, Tiling(size=96, overlap=32), strip=64)
    handle.remove()
    assert max(widths) == 96 and parts.shape == (3, 64, 224), "a strip is as wide as a tile at least"
    assert not torch.equal(parts, whole) and (parts - whole).abs().mean() < 0.02
    columns = parts.diff(n=2, dim=2).abs().mean((0, 1))
    seams = [columns[start - 2 : start].mean() for start in (64, 96, 128, 160)]
    assert sum(seams) / 4 < 1.3 * columns.mean()


def test_strips_are_few_and_no_wider_than_they_must_be():
    tiling = Tiling(size=512, overlap=64)
    assert _strips(4096, tiling, 4096) == [slice(0, 4096)]
    assert _strips(4400, tiling, 4096) == [slice(0, 2240), slice(2176, 4400)]
    assert [strip.stop - strip.start for strip in _strips(17600, tiling, 4096)] == [3584] * 5
    assert _strips(600, tiling, 512) == [slice(0, 512), slice(96, 600)], "a tile's width is what the network wants"


def test_noise_belongs_to_the_picture():
    whole = noise_of(slice(0, 128), slice(0, 20), 20, 5)
    assert torch.equal(noise_of(slice(64, 100), slice(4, 12), 20, 5), whole[:, :, 64:100, 4:12])
    assert abs(whole.mean()) < 0.05 and abs(whole.std() - 1) < 0.05
    other = noise_of(slice(0, 128), slice(0, 20), 20, 6)
    assert not torch.equal(whole[:, :, :32], whole[:, :, 32:64]) and not torch.equal(whole, other)
