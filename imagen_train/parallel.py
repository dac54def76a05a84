"""How do several processes train one network? Each draws its own batch; gradients are averaged before every step.

Started as `torchrun --nproc-per-node 2 -m imagen_train train ...`; without it there is one process and nothing here
does anything. Two processes of one thread each are much faster on busy CPU cores than one process of two threads.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn

FSDP, DEEPSPEED = "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"  # what `accelerate launch` sets


def asked_to_shard() -> bool:
    """Whether `accelerate launch` was told of FSDP."""
    return _set(FSDP)


def _set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def join_workers(device: torch.device | str, *, shard: bool = False) -> None:
    """Meet the other processes, if torchrun's environment (or that of `accelerate launch`) names any.

    ValueError: accelerate was told of DeepSpeed, or of FSDP for a run that does not `shard`.
    """
    if _set(DEEPSPEED):
        raise ValueError(f"{DEEPSPEED} asks for DeepSpeed, which this trainer has not: launch it with FSDP, or without")
    if asked_to_shard() and not shard:
        raise ValueError(
            f"{FSDP} asks for FSDP, and this command keeps the whole network in every process (`imagen train run` does"
            " not): launch it without, by torchrun or `accelerate launch --multi_gpu`"
        )
    if "RANK" in os.environ and not distributed.is_initialized():
        cuda = torch.device(device).type == "cuda"
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # "cuda" is that one from here on
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")  # clocks and stops are told on the CPU


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
