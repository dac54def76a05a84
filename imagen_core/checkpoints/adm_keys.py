"""What is each weight of ADM's network called in published files, and how is it cut there? ADM's, and its relatives'.

Two namings: "diffusers" (unet/diffusion_pytorch_model.safetensors) and "original" (OpenAI's guided-diffusion, and what
was built on it). We keep q, k and v in one matrix, and the scales and shifts of all blocks in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..unets.adm import ADM, Cell
from .key_map import Entry, KeyMap, Parts, flat, parts_first, stacked

NAMINGS = ("diffusers", "original")

# ours: (diffusers, original)
TOP = {
    "time_embedding.in_layer": ("time_embedding.linear_1", "time_embed.0"),
    "time_embedding.out_layer": ("time_embedding.linear_2", "time_embed.2"),
    "class_embedding": ("class_embedding", "label_emb"),
    "stem": ("conv_in", "input_blocks.0.0"),
    "head_norm": ("conv_norm_out", "out.0"),
    "head": ("conv_out", "out.2"),
}
BLOCK = {
    "in_norm": ("norm1", "in_layers.0"),
    "in_conv": ("conv1", "in_layers.2"),
    "out_norm": ("norm2", "out_layers.0"),
    "out_conv": ("conv2", "out_layers.3"),
}
BLOCK_SKIP = ("conv_shortcut", "skip_connection")
BLOCK_TIME = ("time_emb_proj", "emb_layers.1")
ATTENTION_NORM = ("group_norm", "norm")
DOWN_CONV, UP_CONV = ("conv", "op"), ("conv", "conv")


class Place(NamedTuple):
    """Where a cell lies: its key in our network, and the prefixes of its block and attention in theirs."""

    cell: Cell
    ours: str
    block: str
    attention: str


def trunk_map(unet: ADM, naming: str, *, head_by_head: bool = True) -> KeyMap:
    """The weights that every relative of ADM has, text apart; `unet` may be on the meta device.

    head_by_head: of the original naming, whether qkv is stored head by head (q k v of the first, then of the second), or
    all q, all k, all v ("new attention order"). diffusers keeps the three apart.
    """
    side = NAMINGS.index(naming)
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    table: KeyMap = {}
    for ours, names in TOP.items():
        table |= same(shapes, ours, names[side])
    places = list(cell_places(unet, naming))
    for place in places:
        table |= _block(shapes, place, side)
        if place.cell.attention is not None:
            ours = f"{place.ours}.attention"
            table |= same(shapes, f"{ours}.norm", f"{place.attention}.{ATTENTION_NORM[side]}")
            table |= _projections(shapes, place, naming, head_by_head)
    return table | _joint_modulation(shapes, places, side)


def same(shapes: Parts, ours: str, theirs: str) -> KeyMap:
    """Weight and bias, as far as our network has them, under another name."""
    kinds = [kind for kind in ("weight", "bias") if f"{ours}.{kind}" in shapes]
    return {f"{ours}.{kind}": Entry({f"{theirs}.{kind}": shapes[f"{ours}.{kind}"]}) for kind in kinds}


def pointwise(shapes: Parts, ours: str, theirs: str, *, axes: int) -> KeyMap:
    """A product over channels that is stored as a convolution of width 1 over so many axes."""
    weight, bias = f"{ours}.weight", f"{ours}.bias"
    return {
        weight: Entry({f"{theirs}.weight": (*shapes[weight], *[1] * axes)}, flat),
        bias: Entry({f"{theirs}.bias": shapes[bias]}),
    }


def head_by_head_map(shapes: Parts, ours: str, theirs: str, parts: int, heads: int) -> KeyMap:
    """A convolution of width 1 whose rows are stored head by head, `parts` of them in each."""
    table = pointwise(shapes, ours, theirs, axes=1)
    return {key: Entry(entry.parts, parts_first(parts, heads)) for key, entry in table.items()}


def apart(shapes: Parts, ours: str, theirs: list[str]) -> KeyMap:
    """One product of ours that is stored as several."""
    keys = {kind: f"{ours}.{kind}" for kind in ("weight", "bias")}
    return {key: stacked([f"{part}.{kind}" for part in theirs], shapes[key]) for kind, key in keys.items()}


def _block(shapes: Parts, place: Place, side: int) -> KeyMap:
    block, ours = place.cell.block, f"{place.ours}.block"
    if block.told_channels == 0:  # a convolution that halves or doubles
        name = (DOWN_CONV if block.resample == "down" else UP_CONV)[side]
        return same(shapes, f"{ours}.conv", f"{place.block}.{name}")
    table: KeyMap = {}
    for name, names in BLOCK.items():
        table |= same(shapes, f"{ours}.{name}", f"{place.block}.{names[side]}")
    if isinstance(block.skip, nn.Linear):
        table |= pointwise(shapes, f"{ours}.skip", f"{place.block}.{BLOCK_SKIP[side]}", axes=2)
    return table


def _projections(shapes: Parts, place: Place, naming: str, head_by_head: bool) -> KeyMap:
    """What makes queries, keys and values of a picture's positions, and what takes their answers back."""
    ours, theirs = f"{place.ours}.attention", place.attention
    if naming == "diffusers":
        parts = [f"{theirs}.to_{part}" for part in "qkv"]
        return apart(shapes, f"{ours}.query", parts) | same(shapes, f"{ours}.out", f"{theirs}.to_out.0")
    query = (
        head_by_head_map(shapes, f"{ours}.query", f"{theirs}.qkv", 3, place.cell.attention.heads)
        if head_by_head
        else pointwise(shapes, f"{ours}.query", f"{theirs}.qkv", axes=1)
    )
    return query | pointwise(shapes, f"{ours}.out", f"{theirs}.proj_out", axes=1)


def _joint_modulation(shapes: Parts, places: list[Place], side: int) -> KeyMap:
    told = [place for place in places if place.cell.block.told_channels]
    join = _all_scales_then_all_shifts if told[0].cell.block.style.scale_shift else torch.cat
    return {
        f"scale_shift.{kind}": Entry(
            {
                f"{place.block}.{BLOCK_TIME[side]}.{kind}": (
                    place.cell.block.told_channels,
                    *shapes[f"scale_shift.{kind}"][1:],
                )
                for place in told
            },
            join,
        )
        for kind in ("weight", "bias")
    }


def _all_scales_then_all_shifts(tensors: list[Tensor]) -> Tensor:
    halves = [tensor.chunk(2) for tensor in tensors]
    return torch.cat([half[i] for i in (0, 1) for half in halves])


def cell_places(unet: ADM, naming: str) -> Iterator[Place]:
    """Each cell in running order."""
    diffusers = naming == "diffusers"
    yield from _down_places(unet, diffusers)
    for index, cell in enumerate(unet.middle):
        names = (f"mid_block.resnets.{index}", "mid_block.attentions.0")
        originals = (f"middle_block.{2 * index}", "middle_block.1")
        if not diffusers and not unet.flags.middle_attention:
            originals = (f"middle_block.{index}", "")
        yield Place(cell, f"middle.{index}", *(names if diffusers else originals))
    yield from _up_places(unet, diffusers)


def _down_places(unet: ADM, diffusers: bool) -> Iterator[Place]:
    cells, blocks = iter(enumerate(unet.down)), unet.flags.num_res_blocks
    for level, count in enumerate(blocks):
        for j in range(count + (level + 1 < len(blocks))):
            index, cell = next(cells)
            prefix, theirs = f"down_blocks.{level}", f"input_blocks.{index + 1}"
            block = f"{prefix}.resnets.{j}" if j < count else f"{prefix}.downsamplers.0"
            names = (block, f"{prefix}.attentions.{j}") if diffusers else (f"{theirs}.0", f"{theirs}.1")
            yield Place(cell, f"down.{index}", *names)


def _up_places(unet: ADM, diffusers: bool) -> Iterator[Place]:
    """The original keeps an upsampler inside the last block of its level."""
    cells, blocks, number = iter(enumerate(unet.up)), unet.flags.num_res_blocks, 0
    for b, level in enumerate(reversed(range(len(blocks)) if len(unet.up) else ())):
        for j in range(blocks[level] + 1):
            index, cell = next(cells)
            prefix, theirs = f"up_blocks.{b}", f"output_blocks.{number}"
            names = (f"{prefix}.resnets.{j}", f"{prefix}.attentions.{j}")
            yield Place(cell, f"up.{index}", *(names if diffusers else (f"{theirs}.0", f"{theirs}.1")))
            number += 1
        if level:
            index, cell = next(cells)
            inside = f"output_blocks.{number - 1}.{2 if unet.flags.attention[level] else 1}"
            yield Place(cell, f"up.{index}", f"up_blocks.{b}.upsamplers.0" if diffusers else inside, "")
