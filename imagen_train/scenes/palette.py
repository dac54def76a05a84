"""What red, or a sunset, looks like: sRGB in [0, 1] for every named color and backdrop, and the tones that contrast."""

from functools import lru_cache

import torch
from torch import Tensor

from .vocabulary import BACKDROPS, COLORS

COLOR_RGB = {
    "red": (0.84, 0.08, 0.10),
    "orange": (0.98, 0.48, 0.04),
    "yellow": (0.99, 0.85, 0.10),
    "green": (0.12, 0.62, 0.22),
    "teal": (0.04, 0.62, 0.62),
    "blue": (0.10, 0.27, 0.88),
    "purple": (0.48, 0.16, 0.76),
    "pink": (0.98, 0.47, 0.70),
    "white": (0.95, 0.95, 0.95),
    "gray": (0.46, 0.46, 0.46),
    "black": (0.06, 0.06, 0.06),
    "brown": (0.44, 0.25, 0.12),
}
# The other color of stripes and checks. White takes dark marks and black takes gray ones, so that no two look alike.
_LIGHT, _DARK, _GRAY = (0.95, 0.95, 0.93), (0.20, 0.20, 0.22), (0.52, 0.52, 0.52)
MARK_RGB = {"white": _DARK, "yellow": _DARK, "black": _GRAY}
LETTER_RGB = {name: _DARK for name in ("white", "yellow", "pink", "orange")}

# Each backdrop: the tone at the top of the wall, and the tone at its foot, where it runs into the floor.
BACKDROP_RGB = {
    "red": ((0.74, 0.24, 0.23), (0.93, 0.55, 0.50)),
    "orange": ((0.90, 0.54, 0.24), (0.99, 0.76, 0.50)),
    "yellow": ((0.96, 0.81, 0.26), (0.99, 0.92, 0.58)),
    "green": ((0.36, 0.62, 0.40), (0.68, 0.86, 0.67)),
    "blue": ((0.30, 0.50, 0.82), (0.68, 0.82, 0.96)),
    "purple": ((0.48, 0.36, 0.72), (0.75, 0.66, 0.91)),
    "pink": ((0.90, 0.53, 0.67), (0.99, 0.80, 0.86)),
    "white": ((0.78, 0.79, 0.81), (0.92, 0.92, 0.93)),
    "gray": ((0.40, 0.41, 0.42), (0.63, 0.64, 0.65)),
    "black": ((0.07, 0.07, 0.08), (0.20, 0.20, 0.21)),
    "sunset": ((0.30, 0.20, 0.48), (0.99, 0.58, 0.30)),
    "night": ((0.02, 0.04, 0.15), (0.13, 0.17, 0.38)),
}


def to_linear(rgb: Tensor) -> Tensor:
    """sRGB-like values in [0, 1] to linear light (a plain power of 2.2)."""
    return rgb**2.2


@lru_cache(maxsize=1)
def color_tables() -> tuple[Tensor, Tensor, Tensor]:
    """Linear light for every color, (3, COLORS) each: its own, its stripes and checks, its letters."""
    own = [COLOR_RGB[name] for name in COLORS]
    marks = [MARK_RGB.get(name, _LIGHT) for name in COLORS]
    letters = [LETTER_RGB.get(name, _LIGHT) for name in COLORS]
    return tuple(to_linear(torch.tensor(table)).T.contiguous() for table in (own, marks, letters))


@lru_cache(maxsize=1)
def backdrop_table() -> Tensor:
    """Linear light of every backdrop, (2, 3, BACKDROPS): at the top of the wall, at its foot."""
    tones = torch.tensor([BACKDROP_RGB[name] for name in BACKDROPS])  # (backdrops, 2, 3)
    return to_linear(tones).permute(1, 2, 0).contiguous()
