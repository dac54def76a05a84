"""What is each weight of our DeepFloyd network called in the published files, and how is it cut there?

Two namings: "diffusers" (unet/diffusion_pytorch_model.safetensors) and "original" (pytorch_model.bin, and what was
converted from it). We keep q, k and v in one matrix, and the scales and shifts of all blocks in another.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..unets.adm import Cell
from ..unets.attention import Attention
from ..unets.deepfloyd_unet import DeepFloydUNet
from .key_map import Entry, KeyMap, Parts, flat, parts_first, stacked

NAMINGS = ("diffusers", "original")
# A key that a stage has under one naming and no other network has.
SIGNATURES = {
    "diffusers": "add_embedding.pool.positional_embedding",
    "original": "encoder_pooling.1.positional_embedding",
}

# ours: (diffusers, original)
TOP = {
    "time_embedding.in_layer": ("time_embedding.linear_1", "time_embed.0"),
    "time_embedding.out_layer": ("time_embedding.linear_2", "time_embed.2"),
    "aug_embedding.in_layer": ("class_embedding.linear_1", "aug_proj.0"),
    "aug_embedding.out_layer": ("class_embedding.linear_2", "aug_proj.2"),
    "text_projection": ("encoder_hid_proj", "encoder_proj"),
    "text_pooling.in_norm": ("add_embedding.norm1", "encoder_pooling.0"),
    "text_pooling.query": ("add_embedding.pool.q_proj", "encoder_pooling.1.q_proj"),
    "text_pooling.out_layer": ("add_embedding.proj", "encoder_pooling.2"),
    "text_pooling.out_norm": ("add_embedding.norm2", "encoder_pooling.3"),
    "stem": ("conv_in", "input_blocks.0.0"),
    "head_norm": ("conv_norm_out", "out.0"),
    "head": ("conv_out", "out.2"),
}
POOL = ("add_embedding.pool", "encoder_pooling.1")
BLOCK = {
    "in_norm": ("norm1", "in_layers.0"),
    "in_conv": ("conv1", "in_layers.2"),
    "out_norm": ("norm2", "out_layers.0"),
    "out_conv": ("conv2", "out_layers.3"),
}
BLOCK_SKIP = ("conv_shortcut", "skip_connection")
BLOCK_TIME = ("time_emb_proj", "emb_layers.1")
ATTENTION = {"norm": ("group_norm", "norm"), "text_norm": ("norm_cross", "norm_encoder")}

PICTURE_CHANNELS = 3


def key_table(unet: DeepFloydUNet, naming: str) -> KeyMap:
    """For each key of `unet` (which may be on the meta device) its `Entry` under `naming`, one of NAMINGS."""
    side = NAMINGS.index(naming)
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    table: KeyMap = {}

    def same(ours: str, theirs: str) -> None:
        for kind in ("weight", "bias"):
            table[f"{ours}.{kind}"] = Entry({f"{theirs}.{kind}": shapes[f"{ours}.{kind}"]})

    for ours, names in TOP.items():
        if f"{ours}.weight" in shapes:
            same(ours, names[side])
    pool, position = POOL[side], "text_pooling.position"
    table[position] = Entry({f"{pool}.positional_embedding": shapes[position]})
    for kind in ("weight", "bias"):
        ours = f"text_pooling.keys_values.{kind}"
        table[ours] = stacked([f"{pool}.k_proj.{kind}", f"{pool}.v_proj.{kind}"], shapes[ours])

    places = list(cell_places(unet))
    for cell, ours, places_of_cell in places:
        block, attention = places_of_cell[side]
        for name, names in BLOCK.items():
            same(f"{ours}.block.{name}", f"{block}.{names[side]}")
        if isinstance(cell.block.skip, nn.Linear):
            skip, theirs = f"{ours}.block.skip", f"{block}.{BLOCK_SKIP[side]}"
            table[f"{skip}.weight"] = Entry({f"{theirs}.weight": (*shapes[f"{skip}.weight"], 1, 1)}, flat)
            table[f"{skip}.bias"] = Entry({f"{theirs}.bias": shapes[f"{skip}.bias"]})
        if cell.attention is not None:
            for name, names in ATTENTION.items():
                same(f"{ours}.attention.{name}", f"{attention}.{names[side]}")
            make = _diffusers_attention if naming == "diffusers" else _original_attention
            table |= make(f"{ours}.attention", attention, shapes, cell.attention)
    for kind in ("weight", "bias"):
        width = shapes[f"scale_shift.{kind}"][1:]
        parts = {
            f"{place[side][0]}.{BLOCK_TIME[side]}.{kind}": (2 * cell.block.out_conv.weight.shape[0], *width)
            for cell, _, place in places
        }
        table[f"scale_shift.{kind}"] = Entry(parts, _all_scales_then_all_shifts)
    assert table.keys() == shapes.keys(), table.keys() ^ shapes.keys()
    return table


def with_fixed_variance(table: KeyMap, naming: str, stored: Parts, variance: str) -> KeyMap:
    """The table of a network whose steps have a variance of the scheduler's: the stored variance channels give way.

    variance: "learned" (the table as it is), "posterior" (the network puts out the picture alone) or "beta" (it puts out
    the largest variance that a network may choose, whatever it sees).
    """
    if variance == "learned":
        return table
    theirs = TOP["head"][NAMINGS.index(naming)]
    join = _head_of_picture if variance == "posterior" else _head_of_largest_variance
    return table | {
        f"head.{kind}": Entry({key: stored.get(key, ())}, join)
        for kind, key in ((kind, f"{theirs}.{kind}") for kind in ("weight", "bias"))
    }


def _head_of_picture(tensors: list[Tensor]) -> Tensor:
    return tensors[0][:PICTURE_CHANNELS]


def _head_of_largest_variance(tensors: list[Tensor]) -> Tensor:
    """Of weights zeros, of biases ones: v = 1, which is beta's variance (Improved DDPM, Eq. 15)."""
    picture = tensors[0][:PICTURE_CHANNELS]
    constant = torch.ones_like(picture) if picture.ndim == 1 else torch.zeros_like(picture)
    return torch.cat([picture, constant])


def cell_places(unet: DeepFloydUNet) -> Iterator[tuple[Cell, str, tuple[tuple[str, str], tuple[str, str]]]]:
    """Each cell in running order, its key in our network, and (block, attention) under both namings."""
    levels = len(unet.config.channels)
    blocks = unet.config.num_res_blocks
    down, up = iter(enumerate(unet.down)), iter(enumerate(unet.up))
    for level in range(levels):
        for j in range(blocks[level] + (level + 1 < levels)):
            index, cell = next(down)
            prefix, theirs = f"down_blocks.{level}", f"input_blocks.{index + 1}"
            block = f"{prefix}.resnets.{j}" if j < blocks[level] else f"{prefix}.downsamplers.0"
            places = (block, f"{prefix}.attentions.{j}"), (f"{theirs}.0", f"{theirs}.1")
            yield cell, f"down.{index}", places
    for index, cell in enumerate(unet.middle):
        places = (
            (f"mid_block.resnets.{index}", "mid_block.attentions.0"),
            (f"middle_block.{2 * index}", "middle_block.1"),
        )
        yield cell, f"middle.{index}", places
    number = 0  # the original keeps an upsampler inside the last block of its level
    for b, level in enumerate(reversed(range(levels))):
        for j in range(blocks[level] + 1):
            index, cell = next(up)
            prefix, theirs = f"up_blocks.{b}", f"output_blocks.{number}"
            yield (
                cell,
                f"up.{index}",
                (
                    (f"{prefix}.resnets.{j}", f"{prefix}.attentions.{j}"),
                    (f"{theirs}.0", f"{theirs}.1"),
                ),
            )
            number += 1
        if level:
            index, cell = next(up)
            inside = f"output_blocks.{number - 1}.{2 if unet.config.attention[level] else 1}"
            yield cell, f"up.{index}", ((f"up_blocks.{b}.upsamplers.0", ""), (inside, ""))


def _diffusers_attention(ours: str, theirs: str, shapes: Parts, attention: Attention) -> KeyMap:
    table = {}
    for kind in ("weight", "bias"):
        for name, parts in {
            "query": ("to_q", "to_k", "to_v"),
            "text_keys_values": ("add_k_proj", "add_v_proj"),
        }.items():
            key = f"{ours}.{name}.{kind}"
            table[key] = stacked([f"{theirs}.{part}.{kind}" for part in parts], shapes[key])
        table[f"{ours}.out.{kind}"] = Entry({f"{theirs}.to_out.0.{kind}": shapes[f"{ours}.out.{kind}"]})
    return table


def _original_attention(ours: str, theirs: str, shapes: Parts, attention: Attention) -> KeyMap:
    """One-dimensional convolutions of width 1, rows head by head: q k v of the first head, then of the second."""
    table = {}
    for kind, tail in (("weight", (1,)), ("bias", ())):
        for name, their_name, parts in (("query", "qkv", 3), ("text_keys_values", "encoder_kv", 2)):
            key = f"{ours}.{name}.{kind}"
            shape = (*shapes[key], *tail)
            table[key] = Entry({f"{theirs}.{their_name}.{kind}": shape}, parts_first(parts, attention.heads))
        key = f"{ours}.out.{kind}"
        table[key] = Entry({f"{theirs}.proj_out.{kind}": (*shapes[key], *tail)}, flat)
    return table


def _all_scales_then_all_shifts(tensors: list[Tensor]) -> Tensor:
    halves = [tensor.chunk(2) for tensor in tensors]
    return torch.cat([half[i] for i in (0, 1) for half in halves])
