"""How is one figure drawn against another? Points joined in their order, each with its name: an SVG to look at offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 40, 50
COLOR = "#2563eb"


class Spot(NamedTuple):
    """A point of a curve, and what stands beside it."""

    x: float
    y: float
    name: str = ""


def curve_svg(spots: Sequence[Spot], *, across: str, up: str) -> str:
    """The curve through `spots`. across, up: what the axes say. ValueError: there is no spot."""
    if not spots:
        raise ValueError("a curve of no points shows nothing")
    xs, ys = _axis([spot.x for spot in spots]), _axis([spot.y for spot in spots])
    places = [(_place(spot.x, xs, LEFT, WIDTH - RIGHT), _place(spot.y, ys, HEIGHT - BOTTOM, TOP)) for spot in spots]
    return "\n".join([*_frame(across, up), *_ticks(xs, ys), *_line(spots, places), "</svg>\n"])


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Where an axis begins and ends: a little beyond the values."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _place(value: float, axis: tuple[float, float], begin: float, end: float) -> float:
    return begin + (value - axis[0]) / (axis[1] - axis[0]) * (end - begin)


def _frame(across: str, up: str) -> list[str]:
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><rect {box} fill="none" stroke="#999"/>',
        f'<text x="10" y="22">{html.escape(up)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(across)}</text>',
    ]


def _ticks(xs: tuple[float, float], ys: tuple[float, float]) -> list[str]:
    lines = []
    for part in (0.1, 0.5, 0.9):
        x, y = (low + part * (high - low) for low, high in (xs, ys))
        at_x, at_y = _place(x, xs, LEFT, WIDTH - RIGHT), _place(y, ys, HEIGHT - BOTTOM, TOP)
        lines.append(f'<text x="{at_x:.0f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle" fill="#666">{x:.4g}</text>')
        lines.append(f'<text x="{LEFT - 6}" y="{at_y + 4:.0f}" text-anchor="end" fill="#666">{y:.4g}</text>')
    return lines


def _line(spots: Sequence[Spot], places: Sequence[tuple[float, float]]) -> list[str]:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    lines = [f'<polyline points="{points}" fill="none" stroke="{COLOR}" stroke-width="2"/>']
    for spot, (x, y) in zip(spots, places, strict=True):
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOR}"/>')
        lines.append(f'<text x="{x + 7:.1f}" y="{y - 6:.1f}">{html.escape(spot.name)}</text>')
    return lines
