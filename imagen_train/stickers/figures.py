"""What does an individual look like that words cannot name? A rounded body, a cap at its front, a pattern, exact colours.

Everything follows from a number. There are no faces: the front is where the cap is. Coordinates of a figure: u along its
axis, from its back, -1, to its front, 1; v across. A pose is in shares of the picture's side, so that one figure is the
same at any size.

Shapes: s the picture's side, q the side of the part that a figure covers, drawn FINER times as fine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from .colors import Array, lab_to_rgb

FINER = 3  # samples along each side of a pixel
OUTLINE = (0.18, 0.17, 0.21)
LINE = 0.018  # width of the outline, as a share of the picture's side
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """Where a figure stands (its centre), in which direction its front points (degrees, 90 down), and how long it is."""

    x: float
    y: float
    angle: float
    size: float


@dataclass(frozen=True)
class Figure:
    """One individual. colors: of its body, of the pattern on it, of its cap."""

    aspect: float  # of its length: how broad it is
    power: float  # of its outline: 2 is an ellipse, more is squarer
    taper: float  # how much broader its front is than its middle
    lobes: int
    depth: float  # of the lobes
    turn: float  # of lobes and pattern, in radians
    pattern: str  # of PATTERNS
    pitch: float  # of the pattern, in half lengths
    share: float  # of the body that the pattern covers, about
    phase: float
    cap: float  # from which u on the cap is
    colors: tuple[Color, Color, Color]


def _waves(place: Array, pitch: float, phase: float, share: float) -> Array:
    return (place / pitch + phase) % 1.0 < share


def _stripes(a: Array, b: Array, figure: Figure) -> Array:
    return _waves(a, figure.pitch, figure.phase, figure.share)


def _zigzag(a: Array, b: Array, figure: Figure) -> Array:
    bent = a + 0.5 * figure.pitch * np.abs((b / figure.pitch + 0.5) % 2.0 - 1.0)
    return _waves(bent, figure.pitch, figure.phase, figure.share)


def _checks(a: Array, b: Array, figure: Figure) -> Array:
    return _waves(a, 2 * figure.pitch, figure.phase, 0.5) ^ _waves(b, 2 * figure.pitch, figure.phase, 0.5)


def _spots(a: Array, b: Array, figure: Figure) -> Array:
    """On a lattice of equal triangles, each row half a step on."""
    high = figure.pitch * math.sqrt(0.75)
    row = np.floor(b / high + figure.phase)
    across = (a / figure.pitch + figure.phase + 0.5 * row) % 1.0 - 0.5
    down = (b / high + figure.phase) % 1.0 - 0.5
    return np.hypot(across, down) < 0.2 + 0.36 * figure.share


def _rings(a: Array, b: Array, figure: Figure) -> Array:
    return _waves(np.hypot(a, b), figure.pitch, figure.phase, figure.share)


def _halves(a: Array, b: Array, figure: Figure) -> Array:
    return a > 0.5 * (figure.phase - 0.5)


PATTERNS: dict[str, Callable[[Array, Array, Figure], Array]] = {
    "stripes": _stripes,
    "zigzag": _zigzag,
    "checks": _checks,
    "spots": _spots,
    "rings": _rings,
    "halves": _halves,
}


def _color(rng: Random) -> tuple[float, float, float]:
    """Lightness, chroma and hue (radians) in OKLCH."""
    return rng.uniform(0.35, 0.93), rng.uniform(0.02, 0.19), rng.uniform(0, 2 * math.pi)


def _lab(color: tuple[float, float, float]) -> Array:
    lightness, chroma, hue = color
    return np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)], np.float32)


def _colors(rng: Random, count: int, apart: float = 0.22) -> tuple[Color, ...]:
    """Colours that differ clearly from one another."""
    found: list[Array] = []
    while len(found) < count:
        lab = _lab(_color(rng))
        if all(np.linalg.norm(lab - other) > apart for other in found):
            found.append(lab)
    return tuple(tuple(lab_to_rgb(lab[None])[0].tolist()) for lab in found)


def figure_of(identity: int) -> Figure:
    """The individual of this number: always the same one."""
    rng = Random(f"identity {identity}")
    return Figure(
        aspect=rng.uniform(0.5, 0.95),
        power=rng.choice((1.6, 2.0, 2.5, 4.0)),
        taper=rng.uniform(-0.3, 0.3),
        lobes=rng.choice((3, 4, 5, 6)),
        depth=rng.choice((0.0, 0.0, 0.08, 0.14)),
        turn=rng.uniform(0, math.pi),
        pattern=rng.choice(tuple(PATTERNS)),
        pitch=rng.uniform(0.36, 0.8),
        share=rng.uniform(0.3, 0.65),
        phase=rng.random(),
        cap=rng.uniform(0.3, 0.75),
        colors=_colors(rng, 3),
    )


def drawn(figure: Figure, pose: Pose, side: int) -> tuple[Array, Array]:
    """Colours (s s 3) in [0, 1], times how much of each pixel it covers (s s 1), and that."""
    rgb, covered = np.zeros((side, side, 3), np.float32), np.zeros((side, side, 1), np.float32)
    reach = pose.size * side * 0.62
    low = [max(0, math.floor(at * side - reach)) for at in (pose.y, pose.x)]
    high = [min(side, math.ceil(at * side + reach)) for at in (pose.y, pose.x)]
    if min(h - l for l, h in zip(low, high, strict=True)) < 1:
        return rgb, covered
    part, alpha = _fine(figure, pose, side, low, high)
    where = np.s_[low[0] : high[0], low[1] : high[1]]
    rgb[where], covered[where] = _shrunk(part * alpha[..., None]), _shrunk(alpha[..., None])
    return rgb, covered


def _fine(figure: Figure, pose: Pose, side: int, low: list[int], high: list[int]) -> tuple[Array, Array]:
    """Colours (q q 3) of a part of the picture, and whether the figure is there (q q)."""
    rows, columns = (
        ((np.arange((h - l) * FINER, dtype=np.float32) + 0.5) / FINER + l) / side
        for l, h in zip(low, high, strict=True)
    )
    turn, half = math.radians(pose.angle), pose.size / 2
    x, y = (columns[None] - pose.x) / half, (rows[:, None] - pose.y) / half
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    edge = 1.0
    if figure.depth:
        edge = 1.0 - figure.depth * (0.5 + 0.5 * np.cos(figure.lobes * np.arctan2(v, u) + figure.turn))
    broad = figure.aspect * (1.0 + figure.taper * np.clip(u, -1, 1))
    far = (np.abs(u) ** figure.power + np.abs(v / broad) ** figure.power) ** (1.0 / figure.power) / edge
    a, b = u * math.cos(figure.turn) + v * math.sin(figure.turn), v * math.cos(figure.turn) - u * math.sin(figure.turn)
    kind = np.where(u + 0.25 * v * v > figure.cap, 2, PATTERNS[figure.pattern](a, b, figure).astype(np.int64))
    colors = np.array([*figure.colors, OUTLINE], np.float32)
    kind = np.where(far > 1.0 - 2.0 * LINE / (pose.size * figure.aspect), 3, kind)
    return colors[kind], (far <= 1.0).astype(np.float32)


def _shrunk(fine: Array) -> Array:
    height, width, channels = fine.shape
    return fine.reshape(height // FINER, FINER, width // FINER, FINER, channels).mean((1, 3))


def laid(backdrop: Array, figure: Figure, pose: Pose) -> Array:
    """The figure before a backdrop (s s 3) in [0, 1]; another array of the same kind."""
    rgb, covered = drawn(figure, pose, backdrop.shape[0])
    return backdrop * (1.0 - covered) + rgb


def as_pixels(picture: Array) -> np.ndarray:
    """(s s 3) in [0, 1] -> uint8."""
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
