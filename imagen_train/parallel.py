"""How do several processes train one network? Each draws its own batch; gradients are averaged before every step.

Started as `torchrun --nproc-per-node 2 -m imagen_train train ...` or by `accelerate launch`; without them there is one
process and nothing here does anything. accelerate finds out who the others are, by which backend they talk, and which
device is whose. Two processes of one thread each are much faster on busy CPU cores than one process of two threads.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn

# What `accelerate launch` sets.
FSDP, DEEPSPEED, PRECISION = "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_MIXED_PRECISION"
# What says in a process's environment of how many it is one: torchrun, and MPI's ways (accelerate reads all of these).
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
LOCAL_SIZES = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
MEETING_PLACE = "MASTER_ADDR"  # torchrun and accelerate name it, a bare mpirun does not
BACKENDS = {"cuda": "nccl", "xpu": "xccl"}  # of devices that have one besides the CPU's


def asked_to_shard() -> bool:
    """Whether `accelerate launch` was told of FSDP."""
    return _set(FSDP)


def asked_for_bfloat16() -> bool:
    """Whether `accelerate launch` was told of it. ValueError: it was told of a precision that is not trained in."""
    asked = os.environ.get(PRECISION, "no").lower()
    if asked not in ("no", "bf16"):
        raise ValueError(f"{PRECISION} asks for {asked}: training knows bf16 and, with no, float32")
    return asked == "bf16"


def _set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def join_workers(device: torch.device | str, *, shard: bool = False) -> None:
    """Meet the other processes, if the environment names any: torchrun's, that of `accelerate launch`, or MPI's.

    ValueError: accelerate was told of DeepSpeed, or of FSDP for a run that does not `shard`; it is not installed.
    """
    if _set(DEEPSPEED):
        raise ValueError(f"{DEEPSPEED} asks for DeepSpeed, which this trainer has not: launch it with FSDP, or without")
    if asked_to_shard() and not shard:
        raise ValueError(
            f"{FSDP} asks for FSDP, and this command keeps the whole network in every process (`imagen train run` does"
            " not): launch it without, by torchrun or `accelerate launch --multi_gpu`"
        )
    if (size := _largest(WORLD_SIZES)) > 1 and not distributed.is_initialized():
        if size == _largest(LOCAL_SIZES):  # all on this machine
            os.environ.setdefault(MEETING_PLACE, "127.0.0.1")
        _meet(torch.device(device).type)


def _largest(names: tuple[str, ...]) -> int:
    return max(int(os.environ.get(name) or 1) for name in names)


def _meet(device: str) -> None:
    """Join the processes that the environment names; a device's name alone is this process's own from here on."""
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ValueError("several processes find each other by accelerate: pip install accelerate") from error
    native = BACKENDS.get(device)
    PartialState(cpu=device == "cpu", backend=f"cpu:gloo,{device}:{native}" if native else None)  # clocks go by the CPU


def rank() -> int:
    """Which process this is; 0 saves, logs and draws previews."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Make every process's gradients the mean over all of them."""
    grads = [p.grad for p in model.parameters() if p.grad is not None and not is_share(p.grad)]  # shares are, already
    if workers() == 1 or not grads:
        return
    sum_over_workers(grads)
    torch._foreach_div_(grads, workers())


@torch.no_grad()
def sum_over_workers(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one exchange."""
    if workers() == 1 or not tensors:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def is_share(tensor: Tensor) -> bool:
    """Whether this process holds only a part of it (a DTensor: `sharding`)."""
    return hasattr(tensor, "full_tensor")


def every(mine: bool) -> bool:
    """Whether it is so in every process."""
    if workers() == 1:
        return mine
    votes = torch.tensor(float(mine))
    distributed.all_reduce(votes, distributed.ReduceOp.MIN)
    return bool(votes)


def of_first(*values: float) -> tuple[float, ...]:
    """Process 0's values: all must agree on the clock and on stopping, or some would wait for ever."""
    if workers() == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return tuple(shared.tolist())
