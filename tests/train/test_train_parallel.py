"""Do two processes train one network? Same weights in both, gradients averaged, one saved state."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import PartialState

from imagen_train.parallel import asked_for_bfloat16, average_gradients, join_workers, of_first, rank, workers

WORKER = """
import signal
import sys
from pathlib import Path
import torch
from imagen_train.course import LoopConfig
from imagen_train.loop import Preview, train
from imagen_train.options import TrainOptions
from imagen_train.optim import OptimConfig
from imagen_train.parallel import join_workers, rank, workers

folder, how, steps, name = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
join_workers("cpu")

class Task:
    '''Sixteen rows a step: one process takes them all, each of two a half.'''
    helper = None
    batch_size = 16 // workers()
    def loss(self, model, generator, progress):
        if "stop" in how and progress >= 0.5:
            signal.raise_signal(signal.SIGTERM)
        rows = torch.randn(16, 128, generator=torch.Generator().manual_seed(int(100 * progress)))
        mine = rows[rank() * self.batch_size:][:self.batch_size]
        return (model(mine) - mine.flip(1)).square().mean()
    def preview(self, model):
        return Preview(figures={"seen": model(torch.ones(1, 128)).mean().item()})

torch.manual_seed(0)
options = TrainOptions(
    state_dir=folder, cache_dir=folder, models_dir=folder, max_steps=steps, resume="resume" in how, shard="shard" in how,
    preview_minutes=1e-9,
)
layers = torch.nn.Linear(128, 128), torch.nn.LayerNorm(128), torch.nn.Linear(128, 128), torch.nn.Linear(128, 128)
model = torch.nn.Sequential(*layers)  # a matrix for each process's Muon, and one more
config = LoopConfig(warmup_steps=1)
result = train(model, Task(), options, config=config, optim=OptimConfig(name="adamw" if "adamw" in how else "muon"))
held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in model.parameters())
found = {"average": result.model and dict(result.model.state_dict()), "images": result.state.images, "held": held}
torch.save(found, folder / f"{name}{rank()}.pt")
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


def test_what_accelerate_asks_and_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="ACCELERATE_USE_FSDP asks for FSDP.* whole network in every process"):
        join_workers("cpu")
    join_workers("cpu", shard=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    join_workers("cpu")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match="DeepSpeed, which this trainer has not"):
        join_workers("cpu", shard=True)


def test_each_process_takes_the_gpu_of_its_number_and_can_tell_others_the_time(monkeypatch):
    """No GPU is needed: what torch is asked for, by accelerate, is what counts."""
    asked = []
    monkeypatch.setattr(PartialState, "_shared_state", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(str(device)))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend: asked.append(backend))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    monkeypatch.setattr("accelerate.state.check_cuda_p2p_ib_support", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    join_workers("cuda")
    assert asked == ["cpu:gloo,cuda:nccl", "cuda:1"]


def test_without_accelerate_several_processes_are_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="pip install accelerate"):
        join_workers("cpu")


@pytest.mark.parametrize("asked, found", [("no", False), ("bf16", True)])
def test_the_precision_that_accelerate_was_told_of_counts(monkeypatch, asked, found):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    assert asked_for_bfloat16() == found
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ValueError, match="ACCELERATE_MIXED_PRECISION asks for fp8: training knows bf16"):
        asked_for_bfloat16()


# How a process is told which it is, of how many, and how many of those are on its machine.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
OPEN_MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")


def _run(
    folder: Path,
    how: str,
    *,
    steps: int = 4,
    processes: int = 2,
    name: str = "end",
    told: tuple[str, str, str] = TORCHRUN,
) -> list[dict]:
    """What each process ended with."""
    paths = [p for p in (os.environ.get("PYTHONPATH"), *sys.path) if p]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    if processes > 1:
        around |= {told[1]: str(processes), told[2]: str(processes), "MASTER_PORT": str(_free_port())}
        around |= {"MASTER_ADDR": "127.0.0.1"} if told is TORCHRUN else {}  # mpirun says no such thing
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), how, str(steps), name],
            env={**around, told[0]: str(i)} if processes > 1 else around,
        )
        for i in range(processes)
    ]
    assert [process.wait(timeout=120) for process in running] == [0] * processes
    return [torch.load(folder / f"{name}{i}.pt", weights_only=True) for i in range(processes)]


def _furthest(first: dict, second: dict) -> float:
    return max((a - second["average"][name]).abs().max().item() for name, a in first["average"].items())


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_two_processes_learn_what_one_does_with_the_doubled_batch(tmp_path, optimiser):
    """Whether each keeps all weights, or a share of them; whether torchrun started them, or MPI."""
    (alone,) = _run(tmp_path / "alone", optimiser, processes=1)
    copies = _run(tmp_path / "copies", optimiser, told=OPEN_MPI if optimiser == "adamw" else TORCHRUN)
    shared = _run(tmp_path / "shared", f"{optimiser} shard")
    assert _furthest(copies[0], copies[1]) == 0 and shared[1]["average"] is None
    for both in (copies, shared):
        assert _furthest(alone, both[0]) < 2e-5 and both[0]["images"] == 64
    torch.manual_seed(0)
    assert (alone["average"]["0.weight"] - torch.nn.Linear(128, 128).weight).abs().max() > 1e-3
    assert copies[0]["held"] == alone["held"] and shared[0]["held"] == alone["held"] / 2


def test_a_run_in_shares_is_saved_whole_and_goes_on_in_shares_or_in_one_process(tmp_path):
    untouched = _run(tmp_path / "untouched", "shard")
    _run(tmp_path / "shares", "shard stop")
    shutil.copytree(tmp_path / "shares", tmp_path / "one")
    assert _furthest(untouched[0], _run(tmp_path / "shares", "shard resume")[0]) == 0
    assert _furthest(untouched[0], _run(tmp_path / "one", "resume", processes=1)[0]) < 2e-5
    log = [json.loads(line) for line in (tmp_path / "untouched" / "log.jsonl").read_text().splitlines()]
    assert len({entry["seen"] for entry in log if "seen" in entry}) == 4  # previews see the average of their moment
