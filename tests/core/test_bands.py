"""Is a picture that is enlarged in bands of rows the picture that is enlarged whole, without seams?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagen_core import Draw, Tiling, load_stage, super_resolve, super_resolve_bands
from imagen_core.bands import noise_of_rows

SR1024 = Path(__file__).resolve().parents[2] / "models" / "imagen-mini" / "sr1024.safetensors"


@pytest.fixture(scope="module")
def stage():
    return load_stage(SR1024)


@pytest.fixture(scope="module")
def small():
    """Smooth colours, (1 3 56 16)."""
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(1, 3, 8, 4), size=(56, 16), mode="bicubic").clamp(0, 1) * 2 - 1


def banded(stage, small, tiling) -> torch.Tensor:
    asked = []

    def rows_of(rows):
        asked.append(rows)
        return small[:, :, rows]

    parts = list(super_resolve_bands(stage, rows_of, tuple(small.shape[-2:]), tiling, seed=3, steps=2))
    assert len(parts) == len(asked) and max(rows.stop - rows.start for rows in asked) <= tiling.size // 4
    return torch.cat(parts, dim=1)


def test_one_band_is_the_whole_run_and_several_are_nearly(stage, small):
    noise = noise_of_rows(slice(0, 224), 64, 3)
    whole = super_resolve(stage, small, None, Draw(seeds=[3], steps=2, x_T=noise))[0]
    assert torch.equal(banded(stage, small, Tiling(size=224, overlap=64)), whole)
    parts = banded(stage, small, Tiling(size=96, overlap=32))
    assert parts.shape == (3, 224, 64) and (parts - whole).abs().mean() < 0.02
    rows = parts.diff(n=2, dim=1).abs().mean((0, 2))  # about row y + 1
    seams = [rows[start - 2 : start].mean() for start in (64, 96, 128, 160)]
    assert sum(seams) / 4 < 1.3 * rows.mean()


def test_noise_belongs_to_the_picture():
    whole = noise_of_rows(slice(0, 128), 20, 5)
    assert torch.equal(noise_of_rows(slice(64, 100), 20, 5), whole[:, :, 64:100])
    assert abs(whole.mean()) < 0.05 and abs(whole.std() - 1) < 0.05
    assert not torch.equal(whole[:, :, :32], whole[:, :, 32:64]) and not torch.equal(
        whole, noise_of_rows(slice(0, 128), 20, 6)
    )
