"""Is one new file all that a new trainable stage takes? And is nothing asked of pictures and networks but what is used?"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from imagen_core.stage import load_stage
from imagen_core.unets import BaseUNetConfig, build_unet
from imagen_train import cli, data, trainables
from imagen_train.classifier import Classifier, save_classifier
from imagen_train.data import Rendered, render_pictures
from imagen_train.options import TrainOptions
from imagen_train.plans import StagePlan, base64_plan
from imagen_train.stages import task_of, train_stage
from imagen_train.teaching import Teaching, positions
from imagen_train.trainables import TRAINABLES, discover

TOY = """
from imagen_train.trainables import Outcome, TrainableStage

class Toy(TrainableStage):
    name = "toy"
    about = "nothing, quickly"
    file = "toy.txt"
    batch_size = 1
    shipped = False

    def _train(self, options, settings):
        self.finished(options).write_text("learned")
        return Outcome(seconds=1.0, interrupted=False, figures={"steps": options.max_steps})
"""


@dataclasses.dataclass(frozen=True)
class Plain:
    """Two captioned pictures without labels or held-out ones."""

    name: str = "plain"
    side: int = 32
    window: None = None
    chunk: int = 2
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        pixels = np.random.default_rng(index).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        return Rendered(pixels, ["a dot", "two dots"], {})


UNET = BaseUNetConfig(
    patch_size=4, channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8,), text_embed_dim=32,
    per_head_channels=16, pooling_queries=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> StagePlan:
    plan = base64_plan(32)
    return dataclasses.replace(
        plan, pictures="plain", held_out=None, unet=UNET, batch_size=2, layout_rates={}, layout_weights={}
    )


@pytest.fixture
def options(models, tmp_path, monkeypatch) -> TrainOptions:
    monkeypatch.setitem(data.KINDS, "plain", Plain())
    render_pictures(Plain(), 2, tmp_path / "cache")
    return TrainOptions(state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=2, export=False)


def test_a_new_file_is_found_listed_and_trained(tmp_path, monkeypatch, capsys):
    package = tmp_path / "toy_trainables"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "toy.py").write_text(TOY)
    (package / "_private.py").write_text("raise AssertionError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    toys = discover("toy_trainables", [str(package)])
    assert list(toys) == ["toy"]
    monkeypatch.setitem(TRAINABLES, "toy", toys["toy"])
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["train", "toy", "--max-steps", "3", "--state-dir", str(tmp_path)])
    assert args.handler(args) == 0 and '"steps": 3' in capsys.readouterr().out
    assert (tmp_path / "toy.txt").read_text() == "learned"  # beside its state, as it is not shipped
    with pytest.raises(ValueError, match="toy is written when it is done"):
        toys["toy"].export(args)
    (package / "twin.py").write_text(TOY)
    with pytest.raises(ValueError, match="'toy'"):
        discover("toy_trainables", [str(package)])


def test_listing_what_can_be_trained_brings_no_torch():
    code = "import imagen_train.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(trainables.__file__).parents[2]).returncode == 0


def test_every_stage_says_what_its_plan_says(models, tmp_path):
    options = TrainOptions(state_dir=tmp_path, cache_dir=tmp_path, models_dir=models, max_steps=1)
    options = dataclasses.replace(options, text_encoder=models / "text_encoder")
    for name, each in TRAINABLES.items():
        assert each.about and each.batch_size > 0, name
        if each.exports:
            plan = each.plan(options)
            assert (each.batch_size, each.file) == (plan.batch_size, f"{plan.file or plan.stage}.safetensors"), name


def test_pictures_need_neither_labels_nor_held_out_ones(plan, options):
    result = train_stage(plan, dataclasses.replace(options, export=True))
    assert result.state.step == 2 and list(options.state_dir.glob("preview_*.png"))
    assert load_stage(options.models_dir / "base64.safetensors").spec.unet_config == UNET
    with pytest.raises(ValueError, match="leave them out"):
        task_of(dataclasses.replace(plan, layout_rates={"sign": 0.5}), options)


def test_a_network_without_a_transformer_is_taught_at_its_feature_map(plan, options, tmp_path):
    teacher = save_classifier(Classifier(), tmp_path / "teacher.safetensors", {})
    plan = dataclasses.replace(plan, teach_at="middle.0", teach_width=64)
    task = task_of(plan, dataclasses.replace(options, teacher=teacher))
    torch.manual_seed(0)
    network = build_unet(plan.unet)
    task.loss(network, torch.Generator().manual_seed(0), 0.0).backward()
    assert task.helper.project[2].weight.grad.abs().max() > 0
    assert network.get_submodule("middle.0").block.out_conv.weight.grad.abs().max() > 0


def test_a_feature_map_of_another_size_is_compared_place_by_place():
    """A map that is the teacher's own, shrunk to half its sides, is at no distance."""
    torch.manual_seed(0)
    teacher, x_0 = Classifier(), torch.rand(2, 3, 64, 64) * 2 - 1
    teaching = Teaching(teacher, teacher.channels[-1])
    teaching.project = torch.nn.Identity()
    with torch.no_grad():
        seen = torch.nn.functional.interpolate(
            teacher.late[:-1](teacher.early(x_0)), (4, 4), mode="bilinear", antialias=True
        )
    block = torch.nn.Identity()
    with teaching.listening(block):
        block(2.0 * seen)
    assert teaching.distance(x_0) == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(ValueError, match="no square"):
        positions(torch.zeros(1, 7, 3))
