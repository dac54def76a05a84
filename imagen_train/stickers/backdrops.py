"""What stands behind the things? A plain colour, a gradient, or a scene drawn here as SVG, sharp at any size.

A scene is a function of a random source: the same seed is the same sky at 64 and at 1024 px. Coordinates are 0..64.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from .colors import BACKDROPS, Array

PLAIN = tuple(BACKDROPS)


def paint_plain(name: str, side: int, rng: Random, *, gradient: bool) -> Array:
    """A colour (s s 3) in [0, 1], exactly as named where it is white or black, else a little off; with a gradient,
    darker towards the bottom or the rim."""
    color = np.array(BACKDROPS[name], np.float32) / 255
    if name not in ("white", "black"):
        color = np.clip(color + np.array([rng.uniform(-0.03, 0.03) for _ in range(3)], np.float32), 0, 1)
    picture = np.broadcast_to(color, (side, side, 3)).copy()
    if gradient:
        ramp = (np.arange(side, dtype=np.float32) + 0.5) / side
        if rng.random() < 0.5:
            shade = ramp[:, None] * np.ones(side, np.float32)
        else:
            shade = np.hypot(*np.meshgrid(ramp - 0.5, ramp - 0.5)) / 0.71
        picture *= (1 - rng.uniform(0.12, 0.25) * shade)[..., None]
    return picture


def _sky(top: str, bottom: str, below: str = "") -> str:
    stops = f'<stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/>'
    return (
        f'<defs><linearGradient id="s" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient></defs>'
        f'<rect width="64" height="64" fill="url(#s)"/>{below}'
    )


def _disc(x: float, y: float, radius: float, fill: str, opacity: float = 1.0) -> str:
    return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.2f}" fill="{fill}" fill-opacity="{opacity:.2f}"/>'


def _land(y: float, fill: str, rng: Random, swing: float = 3.0) -> str:
    """Ground from a gently curved horizon at `y` down."""
    a, b = (y + rng.uniform(-swing, swing) for _ in range(2))
    return f'<path d="M0 {y:.2f} C20 {a:.2f} 44 {b:.2f} 64 {y:.2f} V64 H0 Z" fill="{fill}"/>'


def _scatter(count: int, rng: Random, top: float, bottom: float, sizes: tuple[float, float], fill: str) -> str:
    places = ((rng.uniform(0, 64), rng.uniform(top, bottom), rng.uniform(*sizes)) for _ in range(count))
    return "".join(_disc(x, y, size, fill) for x, y, size in places)


def _cloud(x: float, y: float, size: float) -> str:
    puffs = ((0, 0, 1.0), (1.1, 0.25, 0.75), (-1.1, 0.3, 0.7), (0.5, -0.5, 0.7))
    return "".join(_disc(x + size * dx, y + size * dy, size * r, "#ffffff", 0.85) for dx, dy, r in puffs)


def _sunset(rng: Random) -> str:
    sun = _disc(rng.uniform(10, 54), rng.uniform(26, 38), 6, "#ffe08a")
    return _sky("#6a4a9c", "#ff9a56", sun + _land(46, "#7b3f61", rng))


def _night(rng: Random) -> str:
    x, y = rng.choice((rng.uniform(7, 16), rng.uniform(48, 57))), rng.uniform(7, 13)
    moon = _disc(x, y, 5, "#fff3c4") + _disc(x + 2.4, y - 1, 4.2, "#121a45")
    return _sky("#0d1338", "#26347a", _scatter(26, rng, 0, 46, (0.25, 0.6), "#ffffff") + moon)


def _space(rng: Random) -> str:
    planet = _disc(
        rng.choice((8, 56)), rng.uniform(8, 16), rng.uniform(4, 7), rng.choice(("#c86f5a", "#7aa6d8", "#d9b36c"))
    )
    return _sky("#0b0a1f", "#1c1440", _scatter(46, rng, 0, 64, (0.2, 0.55), "#ffffff") + planet)


def _sea(rng: Random) -> str:
    crest = "q4 -2 8 0" + " t8 0" * 8
    waves = "".join(f'<path d="M-4 {y} {crest}" stroke="#8fd3ee" fill="none" stroke-width=".9"/>' for y in (44, 50, 57))
    return _sky("#bfe6fb", "#e9f7ff", f'<rect y="38" width="64" height="26" fill="#2f8fc4"/>{waves}')


def _underwater(rng: Random) -> str:
    bubbles = "".join(
        f'<circle cx="{rng.uniform(2, 62):.1f}" cy="{rng.uniform(4, 56):.1f}" r="{rng.uniform(0.8, 2):.1f}" fill="none" '
        'stroke="#c9f0ff" stroke-width=".5"/>'
        for _ in range(9)
    )
    return _sky("#3fb6dd", "#0c4f86", bubbles + _land(58, "#d8c58e", rng))


def _forest(rng: Random) -> str:
    trees = ""
    for x in range(-2, 70, 8):
        x0, top = x + rng.uniform(-2, 2), rng.uniform(14, 26)
        fill = rng.choice(("#2f7a48", "#2a6a41", "#3a8a52"))
        trees += f'<path d="M{x0:.1f} {top:.1f} l7 34 h-14 z" fill="{fill}"/>'
    return _sky("#cfeecb", "#a5d8a0", trees + _land(47, "#5a9c4c", rng))


def _meadow(rng: Random) -> str:
    flowers = _scatter(12, rng, 50, 63, (0.5, 0.9), rng.choice(("#ffffff", "#ffe066", "#ff9ecb")))
    return _sky("#8fd0ff", "#dff3ff", _cloud(rng.uniform(8, 56), 9, 4) + _land(45, "#74c05a", rng) + flowers)


def _snow(rng: Random) -> str:
    return _sky("#a9cbe8", "#e3eff8", _land(46, "#ffffff", rng) + _scatter(34, rng, 0, 62, (0.4, 0.9), "#ffffff"))


def _desert(rng: Random) -> str:
    sun = _disc(rng.uniform(8, 56), 10, 4.5, "#fff2b0")
    return _sky("#8ecdf0", "#fbe3b5", sun + _land(42, "#e2b768", rng, 6) + _land(50, "#d3a253", rng, 6))


def _sky_scene(rng: Random) -> str:
    clouds = "".join(_cloud(rng.uniform(4, 60), y, rng.uniform(3, 5)) for y in (8, 30, 54))
    return _sky("#58b4f0", "#bfe6ff", clouds)


SCENES: dict[str, Callable[[Random], str]] = {
    "sunset": _sunset,
    "night": _night,
    "space": _space,
    "sea": _sea,
    "underwater": _underwater,
    "forest": _forest,
    "meadow": _meadow,
    "snow": _snow,
    "desert": _desert,
    "sky": _sky_scene,
}
SCENE_PHRASES = {
    "sunset": ("at sunset", "in front of a sunset", "at dusk"),
    "night": ("at night", "under a night sky", "in the moonlight"),
    "space": ("in space", "in outer space", "among the stars"),
    "sea": ("by the sea", "at sea", "in front of the ocean"),
    "underwater": ("underwater", "under water", "at the bottom of the sea"),
    "forest": ("in a forest", "in the woods", "among trees"),
    "meadow": ("in a meadow", "on the grass", "in a green field"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "desert": ("in the desert", "in a desert", "on sand dunes"),
    "sky": ("in the sky", "among clouds", "in front of a blue sky"),
}
NAMES = (*PLAIN, *SCENES)


def paint_scene(name: str, side: int, rng: Random) -> Array:
    """One of SCENES (s s 3) in [0, 1]."""
    import resvg_py

    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">{SCENES[name](rng)}</svg>'
    )
    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side))), formats=["PNG"])
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def paint(name: str, side: int, seed: int, *, gradient: bool = False) -> Array:
    """The backdrop `name` of NAMES (s s 3) in [0, 1]; the same seed is the same one at any size."""
    rng = Random(seed)
    return paint_scene(name, side, rng) if name in SCENES else paint_plain(name, side, rng, gradient=gradient)
