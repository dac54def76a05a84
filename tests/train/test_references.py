"""Does a reference learn from two crops of one picture, leave its stage as it is, and is it measured beside none?"""

from __future__ import annotations

import argparse
import dataclasses
import json

import numpy as np
import pytest
import torch

from imagen_core import load_adapter, load_stage, save_checkpoint
from imagen_train import cli, data
from imagen_train.control_plans import reference_plan
from imagen_train.control_training import task_of, train_control
from imagen_train.data import PictureCache, Rendered, render_pictures
from imagen_train.options import TrainOptions
from imagen_train.references import crop_pairs


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Pictures of 128 px, each of stripes and dots in colours of its own."""

    name: str = "stripes"
    side: int = 128
    window: None = None
    chunk: int = 4
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        draw = np.random.default_rng(index)
        at = np.arange(128)
        pixels = [
            np.where(((at[:, None] // 2 + at // 3) % 2 > 0)[..., None], *draw.integers(0, 256, (2, 3)))
            for _ in range(4)
        ]
        return Rendered(np.stack(pixels).astype(np.uint8), ["stripes"] * 4, {})


@pytest.fixture
def options(models, tmp_path, monkeypatch):
    monkeypatch.setitem(data.KINDS, "stripes", Stripes())
    render_pictures(Stripes(), 4, tmp_path / "cache")
    return TrainOptions(
        state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=2, batch_size=2, export=False,
        preview_minutes=float("inf"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def enlarging(models, tmp_path_factory):
    """A stage whose head is not zero, which lets no gradient through."""
    stage = load_stage(models / "sr256.safetensors")
    torch.manual_seed(0)
    for parameter in stage.unet.parameters():
        if parameter.abs().max() == 0:
            parameter.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("enlarging") / "sr256.safetensors"
    save_checkpoint(path, stage.unet, spec=stage.spec)
    return path


def test_a_pair_is_of_one_picture(options):
    cache = PictureCache(options.cache_dir, "stripes")
    large, other = crop_pairs(cache, 6, 32, torch.Generator().manual_seed(0), apart=True)
    assert large.shape == other.shape == (6, 3, 32, 32)
    for one, two in zip(large, other, strict=True):
        colors = [set(map(tuple, each.flatten(1).mT.tolist())) for each in (one, two)]
        assert colors[0] == colors[1]


def test_it_learns_beside_a_stage_that_enlarges_and_one_command_each_trains_and_measures(
    options, models, enlarging, capsys
):
    path, out = enlarging, options.state_dir / "models"
    plan = dataclasses.replace(reference_plan(path), pictures="stripes", crop=32)
    stage = load_stage(path)
    before = {key: value.clone() for key, value in stage.unet.state_dict().items()}
    task = task_of(plan, stage, options)
    x_0, text, base = task._batch(torch.Generator().manual_seed(0))
    assert text is None and base.pixels.shape == x_0.shape == task.references.shape
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    where = ["--state-dir", str(options.state_dir), "--cache-dir", str(options.cache_dir), "--models-dir", str(out)]
    told = ["--base", str(path), "--pictures", "stripes", "--max-steps", "2", "--batch-size", "2"]
    args = parser.parse_args(["train", "reference", *told, *where, "--preview-minutes", "inf"])
    assert args.handler(args) == 0
    made = load_adapter(out / "reference.safetensors")
    assert made.spec.name == "reference"
    made.check_fits(stage)
    assert made.network.out[0].weight.abs().max() > 0
    assert set(task.preview(made.network).figures) == {"psnr_with", "psnr_without"}
    assert all(torch.equal(before[key], value) for key, value in load_stage(path).unet.state_dict().items())
    capsys.readouterr()
    asked = ["--reference", str(out / "reference.safetensors"), "--models-dir", str(models), "--pictures", "stripes"]
    sizes = ["--cache-dir", str(options.cache_dir), "--count", "2", "--side", "32", "--steps", "1"]
    args = parser.parse_args(["evaluate", "reference", "--base", str(path), *asked, *sizes])
    assert args.handler(args) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures) == ["none", "same_picture", "wrong", "itself_turned", "bicubic", "asked", "settings"]
    assert figures["none"]["psnr_gained"]["mean"] == 0.0 and figures["wrong"]["psnr"]["count"] == 2


def test_a_base_that_draws_is_refused(options, models):
    plan = reference_plan(models / "base64.safetensors")
    with pytest.raises(ValueError, match="enlarges nothing: a reference is trained for an sr stage, such as sr256"):
        train_control(plan, options, options.state_dir / "reference.safetensors")
