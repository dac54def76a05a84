"""Does the whole recipe run from nothing at a tiny size, say its cost first, and go on after being stopped?"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from imagen_core.stage import load_stage
from imagen_train import cli, data
from imagen_train.classifier import load_classifier
from imagen_train.data import PictureKind
from imagen_train.plans import base64_plan, sr256_plan, sr1024_plan
from imagen_train.recipe import Recipe, Workshop, run_recipe
from imagen_train.text_encoder import TextModelConfig
from imagen_train.trainables import TRAINABLES

TINY_KINDS = [
    PictureKind(name="base64", side=64, chunk=4),
    PictureKind(name="base64_held_out", side=64, chunk=4, held_out=True),
    PictureKind(name="base64_pairs", side=64, chunk=2048, held_out=True, first_seed=500_000),
    PictureKind(name="full256", side=64, chunk=2),
    PictureKind(name="full256_held_out", side=64, chunk=2, held_out=True),
    PictureKind(name="textures256", side=64, chunk=5, textures=True),
    PictureKind(name="window1024", side=128, window=64, chunk=2),
    PictureKind(name="window1024_held_out", side=128, window=64, chunk=2, held_out=True),
]


@pytest.fixture
def recipe(monkeypatch) -> Recipe:
    from imagen_train import classifier

    for kind in TINY_KINDS:
        monkeypatch.setitem(data.KINDS, kind.name, dataclasses.replace(kind, chunk=min(kind.chunk, 5)))
    monkeypatch.setattr(classifier, "PAIR_PICTURES", 5)
    plans = {"base64": base64_plan(32), "sr256": sr256_plan(), "sr1024": sr1024_plan()}
    small = {"channels": (16, 16), "num_res_blocks": (1, 1)}
    base = {"channels": 16, "width": 32, "depth": 3, "per_head_channels": 16, "pooling_queries": 2, "fine_channels": 8}
    for stage, plan in plans.items():
        unet = dataclasses.replace(plan.unet, **(base if stage == "base64" else small))
        plans[stage] = dataclasses.replace(plan, unet=unet, crop=min(plan.crop, 64), batch_size=2)
    return Recipe(
        pictures={kind.name: 5 for kind in TINY_KINDS},
        steps={"t5": 2, "teacher": 2, "classifier": 2, "base64": 40, "sr256": 2, "sr1024": 2},
        text=TextModelConfig(d_model=32, layers=1, heads=2, d_kv=16, d_ff=32, captions=256),
        settings=plans,
    )


def _interrupt_when(there: Path) -> None:
    while not there.exists():
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)


def test_stopped_in_the_middle_it_goes_on_and_finishes(recipe, tmp_path):
    said: list[str] = []
    shop = Workshop(root=tmp_path, models_dir=tmp_path / "models")
    threading.Thread(target=_interrupt_when, args=(tmp_path / "base64",), daemon=True).start()
    assert not run_recipe(recipe, shop, say=said.append)
    assert "in all about" in said[0] and "render full256" in said[0] and said[-1].startswith("stopped and saved")
    assert not shop.finished("base64").exists() and (tmp_path / "base64" / "state.safetensors").exists()
    before = shop.finished("t5").stat().st_mtime_ns

    said.clear()
    assert run_recipe(recipe, shop, say=said.append)
    assert (
        "t5: finished before" in said and "render" not in said[0] and shop.finished("t5").stat().st_mtime_ns == before
    )
    for stage, steps in list(recipe.steps.items())[3:]:
        training = load_stage(shop.finished(stage), expected_stage=stage).spec.training
        assert training["steps"] == steps and training["seed"] == 0
    teacher, judge = (load_classifier(shop.finished(stage)) for stage in ("teacher", "classifier"))
    assert not torch.equal(teacher.squeeze.weight, judge.squeeze.weight)
    assert not (shop.models_dir / "teacher.safetensors").exists()


def test_a_dry_run_says_what_it_costs_and_trains_nothing(recipe, tmp_path):
    said: list[str] = []
    shop = Workshop(root=tmp_path, models_dir=tmp_path / "models")
    assert not run_recipe(recipe.scaled(0.5), shop, dry_run=True, say=said.append)
    assert len(said) == 1 and "20 steps (1,280 pictures)" in said[0] and "steps/s" in said[0]
    assert not any(shop.finished(stage).exists() for stage in recipe.steps)


def test_the_shipped_recipe_names_real_stages_and_pictures():
    recipe = Recipe()
    assert set(recipe.steps) <= set(TRAINABLES) and set(recipe.pictures) <= set(cli.PICTURES)
    assert recipe.scaled(0.001).steps["sr1024"] == 8
