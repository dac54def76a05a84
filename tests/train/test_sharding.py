"""Does every kind of network learn in shares what it learns whole, and does a config's run draw, save and export so?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imagen_core import load_checkpoint
from imagen_core.unets import UNETS
from imagen_train.loop import train
from imagen_train.optim import OptimConfig
from imagen_train.options import TrainOptions
from imagen_train.sharding import without_weights

HERE = Path(__file__).parent
CONFIG = """
out = "out"
text_encoder = "{encoder}"
[data]
path = "pictures"
side = 16
held_out = 0.3
[network]
patch_size = 2
channels = 16
width = 32
depth = 2
per_head_channels = 16
pooling_queries = 1
fine_channels = 0
self_conditioning = true
[run]
steps = 3
batch_size = 2
preview_minutes = 1e-6
shard = true
[samples]
prompts = ["a red square"]
steps = 2
"""


def _by_two(*command: str) -> str:
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, env=around, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_kind_of_network_has_the_gradients_of_the_whole():
    found = json.loads(_by_two(str(HERE / "sharded_networks.py")))
    assert set(found) == {kind for kind in UNETS if not kind.startswith("karlo")}
    for kind, figures in found.items():
        assert figures["apart"] < 1e-5 and figures["seen"] > 20, kind
        assert figures["held"] < 0.51, kind


def test_a_config_trains_in_shares_draws_previews_and_exports_a_whole_checkpoint(tmp_path, models):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for color in ("red", "green", "blue", "black", "white", "yellow"):
        Image.new("RGB", (20, 16), color).save(tmp_path / "pictures" / f"{color}.png")
        (tmp_path / "pictures" / f"{color}.txt").write_text(f"a {color} square")
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(encoder=models / "text_encoder"))
    _by_two("-m", "imagen_train", "train", "run", str(config))
    network, spec = load_checkpoint(tmp_path / "out" / "base64.safetensors")
    assert spec.training["images"] == 3 * 2 * 2 and all(p.isfinite().all() for p in network.parameters())
    assert (tmp_path / "out" / "report.html").exists()
    assert len(list((tmp_path / "out" / "training").glob("preview_*.png"))) == 3


@pytest.mark.parametrize(
    ("options", "optimiser", "what"), [({"compile": True}, "muon", "compile"), ({}, "adafactor", "ada")]
)
def test_what_knows_nothing_of_shares_is_refused(options, optimiser, what, tmp_path, monkeypatch):
    monkeypatch.setattr("imagen_train.loop.workers", lambda: 2)
    given = TrainOptions(
        state_dir=tmp_path, cache_dir=tmp_path, models_dir=tmp_path, max_steps=1, shard=True, **options
    )

    class Task:
        batch_size, helper = 1, None

    with pytest.raises(ValueError, match=f"shard and {what}.* do not go together"):
        train(torch.nn.Linear(2, 2), Task(), given, optim=OptimConfig(name=optimiser))


def test_a_network_without_its_weights_keeps_its_buffers():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    empty = without_weights(net)
    assert all(p.is_meta for p in empty.parameters()) and torch.equal(empty[1].running_var, net[1].running_var)
