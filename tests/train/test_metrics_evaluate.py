"""Is super-resolution measured from files to figures, with counts, settings and its rivals beside?"""

from __future__ import annotations

import pytest

from imagen_train import data, evaluate
from imagen_train.data import PictureKind
from imagen_train.evaluate import SamplingSettings, evaluate_sr
from imagen_train.plans import sr256_plan

FAST = SamplingSettings(steps=2, batch_size=4)


def test_super_resolution_stands_beside_bicubic(models, tmp_path, monkeypatch):
    tiny = PictureKind(name="full256_held_out", side=64, chunk=2, held_out=True)
    monkeypatch.setitem(data.KINDS, tiny.name, tiny)
    figures = evaluate_sr(models / "sr256.safetensors", models, tmp_path, count=2, settings=FAST)
    assert figures["psnr_bicubic"]["mean"] > 15 and figures["psnr_bicubic"]["se"] > 0
    assert 0 <= figures["wins_psnr"] <= 1 and figures["feature_distance_network"]["mean"] > 0
    with pytest.raises(ValueError, match="enlarges nothing"):
        evaluate_sr(models / "base64.safetensors", models, tmp_path, count=2, settings=FAST)


def test_settings_come_from_the_checkpoint_unless_given(models):
    stage = evaluate.load_stage(models / "sr256.safetensors")
    settings = SamplingSettings(steps=3).of(stage)
    assert (settings.steps, settings.sampler) == (3, "dpmpp_2m")
    assert settings.aug_level == sr256_plan().defaults["aug_level"]
