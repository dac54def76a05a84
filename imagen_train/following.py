"""How well does a picture follow a hint? Edges where they were asked for, colours of the palette, things where segments are.

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core.hints.edges import Edges
from imagen_core.hints.palette import Palette
from imagen_core.hints.segments import Segments

NEAR = 1  # pixels by which an edge may be off


def edge_f1(pictures: Tensor, lines: Tensor, *, near: int = NEAR) -> Tensor:
    """(b,) in [0, 1]: of pictures (b 3 h w) in [-1, 1] and lines (b 1 h w, bool), the mean of how many edges lie by a
    line and how many lines by an edge, the harmonic one; `near` pixels off count. 0 where there are none of either.
    """
    found = Edges().found(pictures)
    precision, recall = _share_near(found, lines, near), _share_near(lines, found, near)
    return 2 * precision * recall / (precision + recall).clamp_min(1e-9)


def edge_f1_of(pictures: Tensor, source: Tensor) -> Tensor:
    """`edge_f1` of pictures against the edges of `source`, both (b 3 h w)."""
    return edge_f1(pictures, Edges().found(source))


def _share_near(those: Tensor, these: Tensor, near: int) -> Tensor:
    """(b,) how many of `those` pixels lie within `near` of one of `these`; both (b 1 h w, bool)."""
    grown = F.max_pool2d(these.float(), 2 * near + 1, stride=1, padding=near) > 0
    return (those & grown).flatten(1).sum(1) / those.flatten(1).sum(1).clamp_min(1)


def ground_iou(pictures: Tensor, source: Tensor) -> Tensor:
    """(b,) in [0, 1]: how much of what is no backdrop in pictures (b 3 h w) and in `source` they have in common, of all
    that is none in either (intersection over union); as the segments of two groups see it. 1 where both are backdrop.
    """
    found, wanted = (Segments(groups=2).regions(each).flatten(1) > 0 for each in (pictures, source))
    union = (found | wanted).sum(1)
    return torch.where(union > 0, (found & wanted).sum(1) / union.clamp_min(1), 1.0)


def palette_error(pictures: Tensor, wanted: Tensor) -> Tensor:
    """(b,) mean distance of the mean colours of pictures (b 3 h w) from those of `wanted`, of 0 to 1 in each channel."""
    palette = Palette()
    return (palette.means(pictures) - palette.means(wanted)).abs().flatten(1).mean(1) / 2.0


def followed(kind: str, pictures: Tensor, source: Tensor) -> dict[str, float]:
    """What can be measured of pictures under the hint of a kind that was made from `source`, both (b 3 h w)."""
    measure = MEASURES.get(kind)
    return {} if measure is None else {name_of(measure): measure(pictures, source).mean().item()}


Measure = Callable[[Tensor, Tensor], Tensor]  # of pictures against those that the hint was made of: (b,)
MEASURES: dict[str, Measure] = {
    "edges": edge_f1_of,
    "soft_edges": edge_f1_of,
    "scribble": edge_f1_of,
    "palette": palette_error,
    "tile": palette_error,
    "segments": ground_iou,
    "picture": palette_error,  # a reference, whose colours come over wherever its things stand
}


def name_of(measure: Measure) -> str:
    """What its figure is called."""
    return measure.__name__.removesuffix("_of")
