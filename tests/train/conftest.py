"""What several tests of training share: a folder of tiny random weights."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from imagen_core import load_checkpoint, save_checkpoint
from imagen_core.unets import build_unet
from imagen_train.classifier import FILE, Classifier, save_classifier
from imagen_train.plans import base64_plan, sr256_plan
from imagen_train.tasks import stage_spec
from imagen_train.text_encoder import TextModel, TextModelConfig, export_encoder

sys.path.insert(0, str(Path(__file__).parent))  # by_two
KNOWN = 12  # things that `drawings` has


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Random weights of every kind, tiny, in models/imagen-mini's layout."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = TextModelConfig(d_model=32, layers=1, heads=2, d_kv=16, d_ff=32)
    export_encoder(TextModel(config), config, folder / "text_encoder")
    save_classifier(Classifier().eval(), folder / FILE, {})
    for name, plan in (("base64", base64_plan(32)), ("sr256", sr256_plan())):
        small = {"channels": 16, "width": 32, "depth": 3, "per_head_channels": 16, "pooling_queries": 2}
        if name == "sr256":
            small = {"channels": (16, 16), "num_res_blocks": (1, 1)}
        plan = dataclasses.replace(plan, unet=dataclasses.replace(plan.unet, **small))
        save_checkpoint(folder / f"{name}.safetensors", build_unet(plan.unet), spec=stage_spec(plan))
    return folder


@pytest.fixture(scope="module")
def lively(models, tmp_path_factory) -> Path:
    """A base whose every weight is random, so that what it is told changes what it draws."""
    network, spec = load_checkpoint(models / "base64.safetensors")
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("lively") / "base.safetensors"
    save_checkpoint(path, network, spec=spec)
    return path


@pytest.fixture
def drawings(tmp_path, monkeypatch) -> Path:
    """A training folder in which coloured squares stand for the drawings of the first KNOWN things."""
    from imagen_train.stickers.names import things
    from imagen_train.stickers.pictures import MASTER
    from imagen_train.stickers.sources import PICTURES

    monkeypatch.setenv("IMAGEN_TRAINING_DIR", str(tmp_path))
    (tmp_path / "stickers").mkdir()
    masters = np.full((KNOWN, MASTER, MASTER, 4), 255, np.uint8)
    masters[..., :3] = np.random.default_rng(0).integers(0, 256, (KNOWN, 1, 1, 3))
    for package in PICTURES:
        about = {"nouns": [thing.noun for thing in things()[:KNOWN]]}
        (tmp_path / "stickers" / f"{package.key}.{MASTER}.json").write_text(json.dumps(about))
        np.save(tmp_path / "stickers" / f"{package.key}.{MASTER}.npy", masters)
    return tmp_path


@pytest.fixture(autouse=True)
def interruptible():
    """Tests that stop a run by a signal also hold where the test run itself was started to ignore it (`nohup`, `&`)."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def denormals():
    """A training run flushes denormal numbers in its whole process: what is tested afterwards has them back."""
    yield
    torch.set_flush_denormal(False)


# Files that take longest begin first, so that no process is left alone with one at the end: these are what
# `pytest --durations=0` sums up to. A file stays whole, and nothing breaks where they are no longer the longest.
LONGEST = (
    "test_editor_layout", "test_editor_session", "test_deepfloyd_pictures", "test_own_run", "test_editor_conversion",
    "test_stickers", "test_train_parallel", "test_architecture", "test_editor_runs", "test_lying_files",
    "test_workflows", "test_recipe", "test_batch_run", "test_editor_saved_graphs", "test_editor_app",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """All items of the session, whatever folder they are in."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
