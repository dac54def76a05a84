"""How well does a picture follow a hint? Edges where they were asked for, colours of the palette, things where segments are.

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core.hints._base import luminance
from imagen_core.hints._gradients import blurred, sobel
from imagen_core.hints.edges import Edges
from imagen_core.hints.palette import Palette
from imagen_core.hints.segments import Segments

NEAR = 1  # pixels by which an edge may be off
REACH = 3.0  # pixels on both sides of an edge in which a picture's own is looked for
STEPS = 7  # places there, a pixel apart


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


def edge_offset(pictures: Tensor, source: Tensor) -> Tensor:
    """(b,) in pixels, how far the edges of pictures (b 3 h w) lie from those of `source`, at right angles to them.

    Where an edge lies is read between pixels: a bell through the strongest change and its neighbours. REACH at most on
    either side; 0 without edges.
    """
    lines = Edges().found(source)
    down, right = _changes(source)
    there = torch.hypot(*_changes(pictures))
    found = []
    for i in range(len(source)):
        places = lines[i, 0].nonzero()  # n 2
        row, column = places.unbind(1)
        normal = torch.stack([down[i, 0, row, column], right[i, 0, row, column]], 1)
        normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-9)
        strengths = (torch.hypot(down[i], right[i]), there[i])
        asked, drawn = (_strongest(strength, places, normal) for strength in strengths)
        found.append((drawn - asked).abs().sum() / max(1, len(places)))
    return torch.stack(found)


def _changes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """As `Edges` sees them, each (b 1 h w)."""
    return sobel(blurred(luminance(pictures.float()), Edges().sigma))


def _strongest(strength: Tensor, places: Tensor, normal: Tensor) -> Tensor:
    """How far along `normal` from `places` (n 2, row and column) a map (1 h w) is strongest: (n,) in pixels."""
    steps = torch.linspace(-REACH, REACH, STEPS, device=strength.device)
    at = places[:, None] + steps[:, None] * normal[:, None]  # n s 2
    size = torch.tensor(strength.shape[-2:], device=strength.device)
    grid = ((at + 0.5) / size * 2.0 - 1.0).flip(-1)  # x before y
    profile = F.grid_sample(strength[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)[
        0, 0
    ]
    peak = profile.argmax(1, keepdim=True).clamp(1, STEPS - 2)
    bell = profile.clamp_min(1e-6).log()  # a parabola, then
    before, here, behind = (bell.gather(1, peak + shift)[:, 0] for shift in (-1, 0, 1))
    bend = (before - 2.0 * here + behind).clamp_max(-1e-9)
    between = (0.5 * (before - behind) / bend).clamp(-0.5, 0.5)
    return steps[peak[:, 0]] + between * (steps[1] - steps[0])


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
    return {name_of(measure): measure(pictures, source).mean().item() for measure in MEASURES.get(kind, ())}


Measure = Callable[[Tensor, Tensor], Tensor]  # of pictures against those that the hint was made of: (b,)
MEASURES: dict[str, tuple[Measure, ...]] = {
    "edges": (edge_f1_of, edge_offset),
    "soft_edges": (edge_f1_of, edge_offset),
    "scribble": (edge_f1_of,),
    "palette": (palette_error,),
    "tile": (palette_error,),
    "segments": (ground_iou,),
    "depth": (ground_iou,),  # what lies before the backdrop
    "picture": (palette_error,),  # a reference, whose colours come over wherever its things stand
}


def name_of(measure: Measure) -> str:
    """What its figure is called."""
    return measure.__name__.removesuffix("_of")
