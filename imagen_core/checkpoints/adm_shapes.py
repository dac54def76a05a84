"""How many levels has a network of ADM's family, how wide, and which attend? Read off the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .renaming import count

Shapes = Mapping[str, tuple[int, ...]]


class Level(NamedTuple):
    """One level: its width, its residual blocks on the way down, and whether it attends."""

    channels: int
    blocks: int
    attends: bool


def levels_of(shapes: Shapes, naming: str) -> list[Level]:
    """Finest first; naming: "diffusers" or "original". ValueError naming a weight that is missing."""
    return _diffusers_levels(shapes) if naming == "diffusers" else _original_levels(shapes)


def needed(shapes: Shapes, key: str) -> tuple[int, ...]:
    """The shape of a weight that has to be there. ValueError naming it."""
    if key not in shapes:
        raise ValueError(f"{key!r} is missing")
    return shapes[key]


def _diffusers_levels(shapes: Shapes) -> list[Level]:
    levels = []
    for level in range(max(1, count(shapes, r"down_blocks\.(\d+)\."))):
        prefix = f"down_blocks.{level}"
        blocks = max(1, count(shapes, rf"down_blocks\.{level}\.resnets\.(\d+)\."))
        channels = needed(shapes, f"{prefix}.resnets.0.conv1.weight")[0]
        levels.append(Level(channels, blocks, f"{prefix}.attentions.0.to_q.weight" in shapes))
    return levels


def _original_levels(shapes: Shapes) -> list[Level]:
    """Read off the way up, where a second residual block, or a convolution, marks the end of a level."""
    levels, blocks = [], 0
    last = max(1, count(shapes, r"output_blocks\.(\d+)\.")) - 1
    for number in range(last + 1):
        prefix = f"output_blocks.{number}"
        channels = needed(shapes, f"{prefix}.0.out_layers.3.weight")[0]
        attends = f"{prefix}.1.qkv.weight" in shapes
        blocks += 1
        upsampler = f"{prefix}.{2 if attends else 1}"
        if f"{upsampler}.in_layers.0.weight" in shapes or f"{upsampler}.conv.weight" in shapes or number == last:
            levels.append(Level(channels, blocks - 1, attends))
            blocks = 0
    return levels[::-1]


def levels_down(shapes: Shapes, depth: int) -> list[Level]:
    """Of a network without a way up, whose levels have `depth` blocks each and a residual block between them."""
    cells = count(shapes, r"input_blocks\.(\d+)\.")
    levels = []
    for first in range(1, cells, depth + 1):
        channels = needed(shapes, f"input_blocks.{first}.0.out_layers.3.weight")[0]
        levels.append(Level(channels, depth, f"input_blocks.{first}.1.qkv.weight" in shapes))
    return levels
