"""How is a drawing given another colour, and what does a colour's name look like? In OKLCH (Ottosson, 2020).

The dominant hue turns to the new one and the others follow at a third of their distance, so that shading, highlights
and outlines stay. Shapes: h w pixels; rgb is float in [0, 1], lab is OKLab.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
FROM_LMS, FROM_LAB = np.linalg.inv(TO_LMS), np.linalg.inv(TO_LAB)

# name: hue in degrees, least chroma of the body, lightness gained towards white, factor on lightness
HUES = {
    "red": (27, 0.17, 0.0, 0.93),
    "orange": (58, 0.16, 0.04, 1.0),
    "yellow": (98, 0.16, 0.10, 1.0),
    "green": (142, 0.16, 0.0, 1.0),
    "teal": (190, 0.12, 0.0, 1.0),
    "blue": (258, 0.16, 0.0, 0.93),
    "purple": (303, 0.16, 0.0, 0.93),
    "pink": (352, 0.15, 0.08, 1.0),
}
# name: hue, chroma, factor on lightness, offset of lightness
DULL = {
    "brown": (55, 0.075, 0.78, 0.0),
    "black": (0, 0.0, 0.30, 0.05),
    "white": (0, 0.0, 0.45, 0.58),
    "gray": (0, 0.0, 0.75, 0.15),
}
COLORS = (*HUES, *DULL)
WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green", "green", "green", "emerald"),
    "teal": ("teal", "teal", "turquoise", "cyan"),
    "blue": ("blue", "blue", "blue", "azure", "navy blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose pink", "magenta"),
    "brown": ("brown", "brown", "chocolate brown"),
    "black": ("black",),
    "white": ("white",),
    "gray": ("gray", "grey"),
}


def rgb_to_lab(rgb: Array) -> Array:
    """sRGB (h w 3) -> OKLab (h w 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ TO_LMS.T) @ TO_LAB.T


def lab_to_rgb(lab: Array) -> Array:
    """OKLab (h w 3) -> sRGB (h w 3), clipped to [0, 1]."""
    linear = np.clip(((lab @ FROM_LAB.T) ** 3) @ FROM_LMS.T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def recolor(rgb: Array, alpha: Array, name: str) -> Array:
    """A drawing (h w 3, with alpha (h w)) in the colour `name`: one of COLORS; sRGB (h w 3)."""
    lab = rgb_to_lab(rgb)
    return lab_to_rgb(_turned(lab, alpha, name) if name in HUES else _dulled(lab, name))


def _polar(chroma: Array | float, hue: Array | float) -> tuple[Array, Array]:
    return chroma * np.cos(hue), chroma * np.sin(hue)


def _dulled(lab: Array, name: str) -> Array:
    hue, chroma, factor, offset = DULL[name]
    body = np.clip(lab[..., 0] / 0.3, 0, 1) * chroma  # outlines stay black
    return np.stack([lab[..., 0] * factor + offset, *_polar(body, math.radians(hue))], -1)


def _turned(lab: Array, alpha: Array, name: str) -> Array:
    degrees, least, gain, factor = HUES[name]
    target, lightness = math.radians(degrees), lab[..., 0]
    chroma, hue = np.hypot(lab[..., 1], lab[..., 2]), np.arctan2(lab[..., 2], lab[..., 1])
    dominant = np.angle((alpha * chroma * np.exp(1j * hue)).sum())
    away = np.angle(np.exp(1j * (hue - dominant)))
    # The body takes colour even where it was dull; highlights and outlines do not.
    body = np.clip((lightness - 0.25) / 0.15, 0, 1) * np.clip((0.97 - lightness) / 0.2, 0, 1)
    floor = 0.9 * least * body
    dull = chroma < 0.04
    chroma = np.where(dull, floor, np.maximum(chroma, floor))
    hue = np.where(dull, target, target + 0.35 * away)
    lightness = np.clip(lightness * factor + gain * (1 - lightness), 0, 1)
    return np.stack([lightness, *_polar(chroma, hue)], -1).astype(np.float32)


# What a backdrop of that name looks like, sRGB 0..255.
BACKDROPS = {
    "white": (255, 255, 255),
    "black": (22, 22, 26),
    "gray": (150, 152, 156),
    "red": (214, 60, 60),
    "orange": (247, 160, 70),
    "yellow": (252, 222, 100),
    "green": (110, 190, 110),
    "teal": (70, 180, 178),
    "blue": (80, 130, 225),
    "light blue": (160, 212, 246),
    "purple": (150, 105, 205),
    "pink": (250, 175, 200),
    "brown": (140, 98, 66),
}
