"""Run by each of test_sharding's two processes: every kind of network, whole and in shares, on halves of one batch.

Prints, as JSON, by how much each kind's gradients in shares differ from the whole network's, and what this process holds.
"""

from __future__ import annotations

import copy
import json

import torch
from torch import Tensor, nn

from imagen_core import TextEmbeds
from imagen_core.conditioning import Signals
from imagen_core.unets import UNETS, build_unet
from imagen_train import sharding
from imagen_train.parallel import join_workers, rank
from imagen_train.sharding import gathered, shard, shares

WIDTH, ROWS, SIDE, TOKENS = 24, 4, 16, 77  # as many tokens as a DeepFloyd network wants


def loss_of(network: nn.Module, rows: slice) -> Tensor:
    """Mean over some of ROWS pictures, all of which count alike."""
    generator, config = torch.Generator().manual_seed(2), network.config
    side = getattr(config, "side", SIDE)
    x_t, low_res = torch.randn(2, ROWS, config.in_channels, side, side, generator=generator)
    if config.text_embed_dim is None:
        told = network.encode_class(torch.arange(ROWS)[rows])
    else:
        text = torch.randn(ROWS, TOKENS, WIDTH, generator=generator)[rows]
        told = network.encode_text(TextEmbeds(embeds=text, mask=torch.ones(text.shape[:2], dtype=torch.bool)))
    if "low_res" in config.inputs:
        told = told + Signals(pixels=low_res[rows], aug_level=torch.linspace(0.1, 0.9, ROWS)[rows])
    return network(x_t[rows], torch.linspace(0.9, 0.1, ROWS)[rows], told).square().mean()


def compared(kind: str) -> dict[str, float]:
    torch.manual_seed(0)
    config_cls = UNETS[kind][0]
    classes = "num_classes" in config_cls.tiny
    whole = build_unet(config_cls(**{"text_embed_dim": None if classes else WIDTH, **config_cls.tiny}))
    for parameter in whole.parameters():
        if parameter.abs().max() == 0:
            nn.init.normal_(parameter, std=0.1)
    shared = shard(copy.deepcopy(whole), "cpu")
    loss_of(whole, slice(None)).backward()
    half = ROWS // 2
    loss_of(shared, slice(rank() * half, (rank() + 1) * half)).backward()
    apart, length, seen = 0.0, 0.0, 0
    for mine, p in zip(shared.parameters(), whole.parameters(), strict=True):
        assert (mine.grad is None) == (p.grad is None)
        if p.grad is not None:
            apart = max(apart, (gathered(mine.grad) - p.grad).abs().max().item())
            length, seen = max(length, p.grad.abs().max().item()), seen + 1
    held = sum(t.numel() for t in shares(shared.parameters())) / sum(p.numel() for p in whole.parameters())
    return {"apart": apart / length, "seen": seen, "held": held}


if __name__ == "__main__":
    sharding.LARGE = 64  # so that tiny layers are units, too
    join_workers("cpu")
    told_more = ("karlo_decoder", "karlo_upsampler")  # layers as ADM's, told a picture besides
    found = {kind: compared(kind) for kind in UNETS if kind not in told_more}
    if rank() == 0:
        print(json.dumps(found))
