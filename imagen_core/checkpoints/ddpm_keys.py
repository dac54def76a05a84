"""What do DDPM's published weights call and order otherwise than ADM's in diffusers' layout? (arXiv 2006.11239.)

Attention has its names of before diffusers 0.15, sines stand before cosines, and the variance of a step is not learned.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .key_map import Entry, KeyMap, Parts

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # today's name: that of before
TIME = "time_embedding.in_layer.weight"


def modern_shapes(shapes: Parts) -> Parts:
    """The shapes of a file under today's names."""
    return {_renamed(key, {old: new for new, old in OLD.items()}): shape for key, shape in shapes.items()}


def as_ddpm(table: KeyMap, stored: Parts, *, sines_first: bool) -> KeyMap:
    """`trunk_map`'s table of diffusers' naming for a file with these names; ours has cosines first."""
    if any(".proj_attn." in key for key in stored):
        table = {ours: replace(entry, parts=_old_parts(entry.parts)) for ours, entry in table.items()}
    return table | {TIME: replace(table[TIME], join=halves_swapped)} if sines_first else table


def with_constant_variance(table: KeyMap, stored: Parts) -> KeyMap:
    """For a network of twice the channels: the others are 1 whatever it sees, beta's variance (Improved DDPM, Eq. 15)."""
    keys = {kind: f"conv_out.{kind}" for kind in ("weight", "bias")}
    return table | {f"head.{kind}": Entry({key: stored.get(key, ())}, _largest) for kind, key in keys.items()}


def halves_swapped(tensors: list[Tensor]) -> Tensor:
    """(o i): what reads the second half of its inputs comes first."""
    first, second = tensors[0].chunk(2, dim=1)
    return torch.cat([second, first], dim=1)


def _largest(tensors: list[Tensor]) -> Tensor:
    (picture,) = tensors
    return torch.cat([picture, torch.ones_like(picture) if picture.ndim == 1 else torch.zeros_like(picture)])


def _old_parts(parts: Parts) -> Parts:
    return {_renamed(key, OLD): shape for key, shape in parts.items()}


def _renamed(key: str, names: dict[str, str]) -> str:
    """A weight of an attention layer (`...attentions.0.to_q.weight`) under its other name; any other as it is."""
    layer, found, rest = key.partition(".attentions.")
    number, _, name = rest.partition(".")
    part, _, kind = name.rpartition(".")
    return f"{layer}.attentions.{number}.{names[part]}.{kind}" if found and part in names else key
