"""How do several processes train one network? Each draws its own batch; gradients are averaged before every step.

Started as `torchrun --nproc-per-node 2 -m imagen_train train ...`; without it there is one process and nothing here
does anything. Two processes of one thread each are much faster on busy CPU cores than one process of two threads.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn

SHARDING = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}  # what `accelerate launch` sets


def join_workers(device: torch.device | str) -> None:
    """Meet the other processes, if torchrun's environment (or that of `accelerate launch`) names any.

    ValueError: accelerate was told to divide the network among them.
    """
    for name, what in SHARDING.items():
        if os.environ.get(name, "").lower() in ("1", "true", "yes"):
            raise ValueError(
                f"{name} asks for {what}, and this trainer keeps the whole network in every process: launch it without,"
                " by torchrun or `accelerate launch --multi_gpu`"
            )
    if "RANK" in os.environ and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")


def rank() -> int:
    """Which process this is; 0 saves, logs and draws previews."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Make every process's gradients the mean over all of them."""
    if workers() == 1:
        return
    grads = [p.grad for p in model.parameters() if p.grad is not None]
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


def of_first(*values: float) -> tuple[float, ...]:
    """Process 0's values: all must agree on the clock and on stopping, or some would wait for ever."""
    if workers() == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return tuple(shared.tolist())
