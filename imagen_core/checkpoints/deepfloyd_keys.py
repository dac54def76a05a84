"""What is each weight of our DeepFloyd network called in the published files, and how is it cut there?

The trunk is ADM's (adm_keys.py); here is what reads the text, and how noisy the small picture is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..unets.deepfloyd_unet import DeepFloydUNet
from .adm_keys import NAMINGS, TOP, Place, apart, cell_places, head_by_head_map, same, trunk_map
from .key_map import Entry, KeyMap, Parts

# A key that a stage has under one naming and no other network has.
SIGNATURES = {
    "diffusers": "add_embedding.pool.positional_embedding",
    "original": "encoder_pooling.1.positional_embedding",
}

# ours: (diffusers, original)
TEXT = {
    "aug_embedding.in_layer": ("class_embedding.linear_1", "aug_proj.0"),
    "aug_embedding.out_layer": ("class_embedding.linear_2", "aug_proj.2"),
    "text_projection": ("encoder_hid_proj", "encoder_proj"),
    "text_pooling.in_norm": ("add_embedding.norm1", "encoder_pooling.0"),
    "text_pooling.query": ("add_embedding.pool.q_proj", "encoder_pooling.1.q_proj"),
    "text_pooling.out_layer": ("add_embedding.proj", "encoder_pooling.2"),
    "text_pooling.out_norm": ("add_embedding.norm2", "encoder_pooling.3"),
}
POOL = ("add_embedding.pool", "encoder_pooling.1")
TEXT_NORM = ("norm_cross", "norm_encoder")

PICTURE_CHANNELS = 3


def key_table(unet: DeepFloydUNet, naming: str) -> KeyMap:
    """For each key of `unet` (which may be on the meta device) its `Entry` under `naming`, one of NAMINGS."""
    side = NAMINGS.index(naming)
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    table = trunk_map(unet, naming)
    for ours, names in TEXT.items():
        table |= same(shapes, ours, names[side])
    pool, position = POOL[side], "text_pooling.position"
    table[position] = Entry({f"{pool}.positional_embedding": shapes[position]})
    table |= apart(shapes, "text_pooling.keys_values", [f"{pool}.k_proj", f"{pool}.v_proj"])
    for place in cell_places(unet, naming):
        if place.cell.attention is not None:
            table |= _text_of(shapes, place, naming)
    assert table.keys() == shapes.keys(), table.keys() ^ shapes.keys()
    return table


def _text_of(shapes: Parts, place: Place, naming: str) -> KeyMap:
    """What one attention reads the text by."""
    ours, theirs = f"{place.ours}.attention", place.attention
    norm = same(shapes, f"{ours}.text_norm", f"{theirs}.{TEXT_NORM[NAMINGS.index(naming)]}")
    if naming == "diffusers":
        return norm | apart(shapes, f"{ours}.text_keys_values", [f"{theirs}.add_k_proj", f"{theirs}.add_v_proj"])
    heads = place.cell.attention.heads
    return norm | head_by_head_map(shapes, f"{ours}.text_keys_values", f"{theirs}.encoder_kv", 2, heads)


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
