"""Does every kind of network learn in shares what it learns whole, and does a config's run draw, save and export so?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from by_two import by_two

from imagen_core.unets import UNETS
from imagen_train.loop import train
from imagen_train.optim import OptimConfig
from imagen_train.options import TrainOptions
from imagen_train.sharding import without_weights

HERE = Path(__file__).parent


def test_every_kind_of_network_has_the_gradients_of_the_whole():
    found = json.loads(by_two(str(HERE / "sharded_networks.py")))
    assert set(found) == {kind for kind in UNETS if not kind.startswith("karlo")}
    for kind, figures in found.items():
        assert figures["apart"] < 1e-5 and figures["seen"] > 20, kind
        assert figures["held"] < 0.51, kind


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
