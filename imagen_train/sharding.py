"""How do several processes keep one network in parts? FSDP: each holds its share of every weight, torch's `fully_shard`.

A layer is put together when it is called and taken apart afterwards; its gradient is averaged over the processes, and each
keeps its share of that, too. So are the average and the optimiser's state kept: a process holds 1/n of all three.

Large layers are units of their own, whoever calls them: our networks read a prompt by layers from inside their blocks, once
for all steps, which a unit as large as a block would not survive. All that is small stays together with the network.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .parallel import every, is_share, rank, workers

LARGE = 2**14  # weights of a layer that is a unit of its own
OUTSIDE_FORWARD = ("encode_text", "encode_class")  # what a network does with its own weights besides `forward`


def check_sharable(*, compiled: bool, optimiser: str, taught: bool = False) -> None:
    """ValueError for what knows nothing of shares: a compiled network, a teacher's weights, Adafactor."""
    for what, asked in {"compile": compiled, "a teacher": taught, "adafactor": optimiser == "adafactor"}.items():
        if asked:
            raise ValueError(f"shard and {what} do not go together: leave one of them out")


def shard(network: nn.Module, device: str) -> nn.Module:
    """Keep this process's share of the weights and no more, in place; returns the network.

    What is called is `forward` or one of OUTSIDE_FORWARD, by all processes alike. ValueError: a torch without FSDP2.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError as error:
        raise ValueError(f"torch {torch.__version__} has no fully_shard, 2.6 and later have: update it") from error
    # A linear layer's output is a view, which is no matter unless it is changed in place; test_sharding knows that none is.
    warnings.filterwarnings("ignore", message=".*returned a view tensor", category=UserWarning)
    mesh = init_device_mesh(torch.device(device).type, (workers(),))
    network.to(memory_format=torch.contiguous_format)  # it takes no other
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and layer.weight.numel() >= LARGE:
            fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    for name in OUTSIDE_FORWARD:
        if hasattr(network, name):
            register_fsdp_forward_method(network, name)
    return network


def without_weights(network: nn.Module) -> nn.Module:
    """A copy whose parameters take no memory (on torch's meta device); its buffers are copied."""
    empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in network.parameters()}
    return copy.deepcopy(network, empty)


def put_together(sharded: nn.Module, empty: nn.Module) -> nn.Module | None:
    """A copy of `empty` (of `without_weights`) with the weights that `sharded` has in shares.

    All processes ask; the first gets it, and the others None.
    """
    weights = {}
    for name, value in sharded.state_dict().items():
        together = gathered(value.detach())
        if rank() == 0:
            weights[name] = together.clone()
    if rank() != 0:
        return None
    network = copy.deepcopy(empty)
    network.load_state_dict(weights, assign=True)
    return network


def shares(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What of each this process holds, to be changed in place; a tensor that is not shared is its own share."""
    return [t.to_local() if is_share(t) else t for t in tensors]


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a shared tensor, which all processes ask for at once; another as it is."""
    return tensor.full_tensor() if is_share(tensor) else tensor


def gathered_all(mine: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    """The whole of each, of which `mine` are this process's shares as those of `like` are."""
    return [gathered(_from_share(share, p)) for share, p in zip(mine, like, strict=True)]


def _from_share(share: Tensor, like: Tensor) -> Tensor:
    if not is_share(like):
        return share
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        share, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def shared_as(value: Tensor, like: Tensor) -> Tensor:
    """`value`, which every process has whole, shared as `like` is (which may be not at all)."""
    if not is_share(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether every number is one, in every process's shares."""
    norms = torch._foreach_norm(shares(tensors))
    mine = bool(torch.stack(norms).isfinite().all())
    return every(mine) if any(map(is_share, tensors)) else mine
