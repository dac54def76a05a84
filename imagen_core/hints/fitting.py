"""How does a hint come to the size that is drawn, with its borders, its proportions and its thinnest lines?

Shapes: b images, c h w a picture.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..super_resolution import fit, resize

FITS = ("pad", "crop", "stretch")


def fitted(picture: Tensor, size: tuple[int, int], *, how: str = "pad", resizing: str = "smooth") -> Tensor:
    """(b c h w) as (b c *size). Where the proportions differ, "pad" keeps all of it and repeats its border, "crop" cuts
    about its centre, "stretch" distorts it.

    resizing: "smooth" averages when it shrinks; "lines" keeps the brightest, for a mean would fade them; "blocks" keeps
    flat cells flat when it grows; "flat" mixes no colours either way. Raises ValueError for another `how`.
    """
    if how not in FITS:
        raise ValueError(f"a hint is fitted by {', '.join(FITS)}, and not by {how!r}")
    if how == "crop" and resizing == "smooth":
        return fit(picture, size)
    if how == "pad":
        picture = _padded(picture, size)
    if how == "crop":
        picture = _cropped(picture, size)
    return _resized(picture, size, resizing)


def strokes_to_lines(strokes: Tensor, longest_side: int) -> Tensor:
    """What was painted, (b 1 h w) in [0, 1], as a hint of lines (b 3 h' w') in [-1, 1], white on black.

    longest_side: of h' and w'; 0 keeps the size. The thinnest stroke outlives shrinking.
    """
    painted = (strokes > 0.5).float()
    if longest_side:
        scale = longest_side / max(painted.shape[-2:])
        painted = _resized(painted, tuple(max(1, round(side * scale)) for side in painted.shape[-2:]), "lines")
    return (painted > 0.5).float().expand(-1, 3, -1, -1) * 2.0 - 1.0


def _padded(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """With the proportions of `size`, its border repeated on two sides."""
    height, width = picture.shape[-2:]
    more_height = max(0, round(width * size[0] / size[1]) - height)
    more_width = max(0, round(height * size[1] / size[0]) - width)
    sides = (more_width // 2, more_width - more_width // 2, more_height // 2, more_height - more_height // 2)
    return F.pad(picture, sides, mode="replicate") if any(sides) else picture


def _cropped(picture: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = picture.shape[-2:]
    kept_height = max(1, min(height, round(width * size[0] / size[1])))
    kept_width = max(1, min(width, round(height * size[1] / size[0])))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return picture[..., top : top + kept_height, left : left + kept_width]


def _resized(picture: Tensor, size: tuple[int, int], resizing: str) -> Tensor:
    shrinks = size[0] < picture.shape[-2] or size[1] < picture.shape[-1]
    if resizing == "lines" and shrinks:
        return F.adaptive_max_pool2d(picture, size)
    if resizing == "flat" or (resizing == "blocks" and not shrinks):
        return F.interpolate(picture, size=size, mode="nearest-exact")
    return resize(picture, size)
