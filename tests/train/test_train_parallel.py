"""Do two processes train one network? Same weights in both, gradients averaged, one saved state."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from imagen_train.parallel import average_gradients, join_workers, of_first, rank, workers

WORKER = """
import sys
from pathlib import Path
import torch
from imagen_train.loop import Preview, train
from imagen_train.options import TrainOptions

class Task:
    batch_size = 8
    helper = None
    def loss(self, model, generator, progress):
        x = torch.randn(8, 4, generator=generator)
        return (model(x) - x.flip(1)).square().mean()
    def preview(self, model):
        return Preview()

folder, index = Path(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
options = TrainOptions(state_dir=folder, cache_dir=folder, models_dir=folder, max_steps=3)
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))  # a matrix for each process's Muon
result = train(model, Task(), options)
weights = {"weight": result.model[0].weight, "second": result.model[1].weight}
torch.save({**weights, "images": result.state.images}, folder / f"{index}.pt")
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_one_process_is_left_alone():
    net = torch.nn.Linear(2, 2)
    net(torch.ones(1, 2)).sum().backward()
    before = net.weight.grad.clone()
    average_gradients(net)
    assert torch.equal(before, net.weight.grad)
    assert (rank(), workers(), of_first(0.5, True)) == (0, 1, (0.5, True))


@pytest.mark.parametrize("what", ["FSDP", "DEEPSPEED"])
def test_a_network_that_is_to_be_divided_is_refused(what, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{what}", "true")
    with pytest.raises(ValueError, match=f"ACCELERATE_USE_{what} asks for .* whole network in every process"):
        join_workers("cpu")
    monkeypatch.setenv(f"ACCELERATE_USE_{what}", "false")
    join_workers("cpu")


def test_two_processes_end_with_the_same_weights_and_count_both_batches(tmp_path):
    paths = [p for p in (os.environ.get("PYTHONPATH"), *sys.path) if p]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    common |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(i)], env={**common, "RANK": str(i)})
        for i in range(2)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    first, second = (torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in range(2))
    assert all(torch.equal(first[name], second[name]) for name in ("weight", "second")) and first["images"] == 3 * 8 * 2
    torch.manual_seed(0)
    begun = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    assert all((begun[i].weight - first[name]).abs().max() > 1e-5 for i, name in enumerate(("weight", "second")))
    assert (tmp_path / "state.safetensors").exists()
