"""How are figures drawn side by side? Lines with their names, panels beside each other: an SVG to look at offline."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 300, 58, 16, 36, 48
COLORS = ("#2166ac", "#b2182b", "#1b7837", "#e08214", "#762a83", "#555555", "#17a2b8", "#8c510a")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """lines: by name, points (x, y) in order. at: names for whole numbers on the x axis, in place of numbers."""

    up: str
    across: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    at: Sequence[str] = ()
    dotted: Mapping[str, float] = field(default_factory=dict)  # levels across the panel, by name
    joined: bool = True  # whether points are joined


def panels_svg(panels: Sequence[Panel]) -> str:
    """Panels side by side, one legend below. ValueError: there is nothing to draw."""
    if not panels or not any(line for panel in panels for line in panel.lines.values()):
        raise ValueError("a plot of no points shows nothing")
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    width, height = WIDTH * len(panels), HEIGHT + 20 * -(-len(names) // max(1, 2 * len(panels)))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="12">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="white"/>']
    for index, panel in enumerate(panels):
        parts += [f'<g transform="translate({index * WIDTH} 0)">', *_panel(panel, names), "</g>"]
    return "\n".join([*parts, *_legend(names, 2 * len(panels)), "</svg>\n"])


def _color(names: Sequence[str], name: str) -> str:
    return COLORS[names.index(name) % len(COLORS)]


def _legend(names: Sequence[str], columns: int) -> list[str]:
    parts = []
    for i, name in enumerate(names):
        x, y = 12 + (i % columns) * WIDTH / 2, HEIGHT + 8 + 20 * (i // columns)
        parts.append(f'<circle cx="{x:.0f}" cy="{y - 4:.0f}" r="4" fill="{_color(names, name)}"/>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y:.0f}">{html.escape(name)}</text>')
    return parts


def _axis(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _panel(panel: Panel, names: Sequence[str]) -> list[str]:
    points = [point for line in panel.lines.values() for point in line]
    xs = (-0.5, len(panel.at) - 0.5) if panel.at else _axis([x for x, _ in points])
    ys = _axis([y for _, y in points] + list(panel.dotted.values()))
    to_x = lambda x: LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT)
    to_y = lambda y: HEIGHT - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM)
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    parts = [
        f'<rect {box} fill="none" stroke="#999"/><text x="10" y="20">{html.escape(panel.up)}</text>',
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{html.escape(panel.across)}</text>',
    ]
    for y in _ticks(*ys):
        parts.append(f'<text x="{LEFT - 5}" y="{to_y(y) + 4:.0f}" text-anchor="end" fill="#666">{y:.4g}</text>')
    for x, text in enumerate(panel.at) if panel.at else [(x, f"{x:.4g}") for x in _ticks(*xs)]:
        where = f'x="{to_x(x):.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#666"'
        parts.append(f"<text {where}>{html.escape(text)}</text>")
    for name, level in panel.dotted.items():
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{to_y(level):.1f}" y2="{to_y(level):.1f}"'
        parts.append(f'<line {line} stroke="#777" stroke-dasharray="3 3"/>')
        parts.append(f'<text x="{LEFT + 4}" y="{to_y(level) - 4:.0f}" fill="#777">{html.escape(name)}</text>')
    for name, line in panel.lines.items():
        color, places = _color(names, name), [(to_x(x), to_y(y)) for x, y in line]
        if panel.joined and len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between the ends."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
