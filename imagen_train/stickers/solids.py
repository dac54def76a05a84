"""What do the solids look like, which no set of emoji has? Drawn by this project as SVG, in each of the three styles.

A solid is a few outlines, each with a tone between its colour's highlight and its shadow. 3D paints them with gradients,
flat with their tones, a cartoon with its tones inside a dark outline. Units: a square of 100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .rendering import Drawing, drawings
from .sources import Package

OUTLINE = "#33313b"
ELLIPSE = "M{left} {y}A{rx} {ry} 0 1 1 {right} {y}A{rx} {ry} 0 1 1 {left} {y}Z"


@dataclass(frozen=True)
class Face:
    """One outline (an SVG path) and its light: from 1, the highlight, over 0, the solid's own colour, to -1, shadow.

    to: the light at the other end of a gradient along `axis` ("x", "y", or "round", from its upper left).
    """

    path: str
    light: float
    to: float
    axis: str = "x"


@dataclass(frozen=True)
class Solid:
    """A solid's colour, where a caption names none, its faces from back to front, and where it shines: centre, radii."""

    color: tuple[int, int, int]
    faces: tuple[Face, ...]
    shine: tuple[float, float, float, float]


def _ellipse(x: float, y: float, rx: float, ry: float) -> str:
    return ELLIPSE.format(left=x - rx, right=x + rx, y=y, rx=rx, ry=ry)


SOLIDS = {
    "sphere": Solid((74, 132, 236), (Face(_ellipse(50, 50, 46, 46), 0.55, -0.5, "round"),), (35, 29, 15, 10)),
    "cube": Solid(
        (242, 140, 60),
        (
            Face("M50 5L92 28L92 74L50 96L8 74L8 28Z", 0.0, 0.0, "y"),  # under the seams
            Face("M8 28L50 50L50 96L8 74Z", 0.1, -0.15, "y"),
            Face("M50 50L92 28L92 74L50 96Z", -0.2, -0.5, "y"),
            Face("M50 5L92 28L50 50L8 28Z", 0.65, 0.3, "y"),
        ),
        (45, 22, 14, 6),
    ),
    "cylinder": Solid(
        (38, 176, 148),
        (
            Face("M16 18L16 82A34 13 0 0 0 84 82L84 18Z", 0.25, -0.5, "x"),
            Face(_ellipse(50, 18, 34, 13), 0.7, 0.35, "x"),
        ),
        (30, 54, 5, 22),
    ),
    "cone": Solid(
        (232, 78, 78),
        (Face("M50 4L90 82A40 14 0 0 1 10 82Z", 0.4, -0.5, "x"),),
        (40, 52, 5, 22),
    ),
    "pyramid": Solid(
        (244, 196, 66),
        (
            Face("M46 6L96 72L62 95L6 76Z", 0.0, 0.0, "y"),  # under the seam
            Face("M46 6L62 95L6 76Z", 0.35, 0.0, "y"),
            Face("M46 6L96 72L62 95Z", -0.15, -0.5, "y"),
        ),
        (38, 50, 6, 16),
    ),
    "torus": Solid(
        (170, 98, 220),
        (Face(_ellipse(50, 50, 46, 40) + _ellipse(50, 46, 18, 12), 0.5, -0.5, "y"),),
        (36, 24, 14, 6),
    ),
}


def _tone(color: tuple[int, int, int], light: float) -> str:
    """The colour towards white (light above 0) or towards black, as #rrggbb."""
    towards, share = (255, 0.75 * light) if light > 0 else (20, -0.8 * light)
    return "#" + "".join(f"{round(part + (towards - part) * share):02x}" for part in color)


def _gradient(face: Face, color: tuple[int, int, int], name: str) -> str:
    middle = (face.light + face.to) / 2
    stops = "".join(
        f'<stop offset="{offset}" stop-color="{_tone(color, light)}"/>'
        for offset, light in ((0, face.light), (0.5, middle), (1, face.to))
    )
    if face.axis == "round":
        return f'<radialGradient id="{name}" cx=".36" cy=".3" r=".78">{stops}</radialGradient>'
    ends = 'x2="1" y2="0"' if face.axis == "x" else 'x2="0" y2="1"'
    return f'<linearGradient id="{name}" x1="0" y1="0" {ends}>{stops}</linearGradient>'


def svg(solid: Solid, style: str) -> bytes:
    """The drawing, as SVG. style: one of 3d, flat, cartoon."""
    x, y, rx, ry = solid.shine
    shine = f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="#fff"'
    edge = f' stroke="{OUTLINE}" stroke-width="5" stroke-linejoin="round"' if style == "cartoon" else ""
    paints, defs = [], []
    for number, face in enumerate(solid.faces):
        if style == "3d":
            defs.append(_gradient(face, solid.color, f"f{number}"))
        fill = f"url(#f{number})" if style == "3d" else _tone(solid.color, (face.light + face.to) / 2)
        paints.append(f'<path d="{face.path}" fill="{fill}" fill-rule="evenodd"{edge}/>')
    if style == "3d":
        fade = '<stop offset="0" stop-color="#fff" stop-opacity=".8"/><stop offset="1" stop-color="#fff" stop-opacity="0"/>'
        defs.append(f'<radialGradient id="shine">{fade}</radialGradient>')
        paints.append(shine.replace("#fff", "url(#shine)") + "/>")
    elif style == "cartoon":
        paints.append(f'{shine} opacity=".55"/>')
    body = f"<defs>{''.join(defs)}</defs>{''.join(paints)}"
    size = 'viewBox="0 0 100 100" width="100" height="100"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'.encode()


CODES = {noun: f"solid-{noun}" for noun in SOLIDS}  # where an emoji has its code points


def solids(style: str) -> Iterator[Drawing]:
    """Every solid in one style."""
    for noun, solid in SOLIDS.items():
        yield Drawing(noun, CODES[noun], svg(solid, style))


def drawings_and_solids(package: Package, path: Path, codes: dict[str, str] | None = None) -> list[Drawing]:
    """A package's drawings, see `drawings`, and the solids in its style."""
    return [*drawings(package, path, codes), *solids(package.style)]
