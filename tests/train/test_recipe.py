"""Does the whole recipe run from nothing at a tiny size, say its cost first, and go on after being stopped?"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from imagen_core.stage import load_stage
from imagen_train import cli, data
from imagen_train.data import DrawingKind, PictureKind
from imagen_train.options import default_models_dir
from imagen_train.plans import sr256_plan, sr1024_plan, things64_first_plan, things64_plan
from imagen_train.recipe import Recipe, Workshop, run_recipe
from imagen_train.stickers.mixes import CROWDED, FIRST, WIDE
from imagen_train.trainables import TRAINABLES

TINY_KINDS = [
    PictureKind(name="base64", side=64, chunk=4),
    PictureKind(name="base64_held_out", side=64, chunk=4, held_out=True),
    PictureKind(name="base64_pairs", side=64, chunk=2048, held_out=True, first_seed=500_000),
    DrawingKind(name="things64_first", side=64, chunk=4, mix=FIRST),
    DrawingKind(name="things64_first_held_out", side=64, chunk=4, held_out=True, mix=FIRST),
    DrawingKind(name="things64_crowded", side=64, chunk=4, tier=2, mix=CROWDED),
    DrawingKind(name="things64_wide_held_out", side=64, chunk=4, tier=2, held_out=True, mix=WIDE),
    DrawingKind(name="things256", side=64, chunk=2),
    DrawingKind(name="things256_held_out", side=64, chunk=2, held_out=True),
    DrawingKind(name="things1024", side=64, chunk=2),
    DrawingKind(name="things1024_held_out", side=64, chunk=2, held_out=True),
    PictureKind(name="full256", side=64, chunk=2),
    PictureKind(name="textures256", side=64, chunk=5, textures=True),
    PictureKind(name="window1024", side=128, window=64, chunk=2),
]


@pytest.fixture
def recipe(monkeypatch) -> Recipe:
    from imagen_train import classifier

    for kind in TINY_KINDS:
        monkeypatch.setitem(data.KINDS, kind.name, dataclasses.replace(kind, chunk=min(kind.chunk, 5)))
    monkeypatch.setattr(classifier, "PAIR_PICTURES", 5)
    draws = {"things64_first": things64_first_plan(32), "things64": things64_plan(32)}
    plans = {**draws, "sr256": sr256_plan(), "sr1024": sr1024_plan()}
    small = {"channels": (16, 16), "num_res_blocks": (1, 1)}
    base = {"channels": 16, "width": 32, "depth": 3, "per_head_channels": 16, "pooling_queries": 2, "fine_channels": 8}
    for stage, plan in plans.items():
        unet = dataclasses.replace(plan.unet, **(base if stage in draws else small))
        plans[stage] = dataclasses.replace(plan, unet=unet, crop=min(plan.crop, 64), batch_size=2)
    steps = {"classifier": 2, "things64_first": 2, "things64": 40, "sr256": 2, "sr1024": 2}
    return Recipe(pictures={kind.name: 5 for kind in TINY_KINDS}, steps=steps, settings=plans)


@pytest.fixture
def shop(models, drawings) -> Workshop:
    """With a tiny text encoder of its own, and drawings."""
    shutil.copytree(models / "text_encoder", drawings / "models" / "things_text_encoder")
    return Workshop(root=drawings, models_dir=drawings / "models")


def _interrupt_when(there: Path) -> None:
    while not there.exists():
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)


def test_stopped_in_the_middle_it_goes_on_and_finishes(recipe, shop):
    said: list[str] = []
    state = shop.root / "things64"
    threading.Thread(target=_interrupt_when, args=(state,), daemon=True).start()
    assert not run_recipe(recipe, shop, say=said.append)
    assert "in all about" in said[0] and "render things256" in said[0] and said[-1].startswith("stopped and saved")
    assert not shop.finished("things64").exists() and (state / "state.safetensors").exists()
    before = shop.finished("classifier").stat().st_mtime_ns

    said.clear()
    assert run_recipe(recipe, shop, say=said.append)
    assert "classifier: finished before" in said and "render" not in said[0]
    assert shop.finished("classifier").stat().st_mtime_ns == before
    for stage, steps in list(recipe.steps.items())[1:]:
        training = load_stage(shop.finished(stage)).spec.training
        assert training["steps"] == steps and training["seed"] == 0
        assert training["from_weights"] == ("things64_first.safetensors" if stage == "things64" else None)


def test_a_dry_run_says_what_it_costs_and_trains_nothing(recipe, shop):
    said: list[str] = []
    assert not run_recipe(recipe.scaled(0.5), shop, dry_run=True, say=said.append)
    assert len(said) == 1 and "20 steps (1,920 pictures)" in said[0] and "steps/s" in said[0]
    assert not any(shop.finished(stage).exists() for stage in recipe.steps)


def test_the_shipped_recipe_names_real_stages_and_pictures():
    recipe = Recipe()
    assert set(recipe.steps) <= set(TRAINABLES) and set(recipe.pictures) <= set(cli.PICTURES)
    assert recipe.scaled(0.001).steps["sr1024"] == 8


def test_the_frozen_text_encoder_is_laid_out_first(tmp_path):
    shop = Workshop(root=tmp_path, models_dir=tmp_path / "models")
    said: list[str] = []
    run_recipe(Recipe(pictures={}, steps={}), shop, dry_run=True, say=said.append)
    (shipped,) = default_models_dir().glob("things_text_encoder/*.safetensors")
    assert (shop.models_dir / "things_text_encoder" / shipped.name).read_bytes() == shipped.read_bytes()
