"""Where does a figure stand, which way does it face, and how large is it? Five coloured discs on black say it.

As InstantID draws a face's key points (arXiv 2401.07519, section 3.3), for anything with a front: its centre, the two ends
of its long axis, and the two of its short axis, which is taken as a fixed part of the long one, so that the discs tell
nothing of who is meant. They are made from numbers; no picture is looked at for them.

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ACROSS = 0.6  # of the long axis: the short one, as it is drawn
RADIUS = 0.045  # of a disc, as a share of the picture's shorter side
PLACES = ((0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, -0.5 * ACROSS), (0.0, 0.5 * ACROSS))  # along the front, and across
COLORS = ((255, 255, 255), (255, 60, 60), (60, 220, 60), (70, 110, 255), (255, 220, 40))  # centre, front, back, sides
DARK, VIVID = -0.8, 0.4  # in [-1, 1]: below it the ground is black; so far apart a disc's red, green and blue are
MOSTLY, ANY = 0.6, 0.001  # of all pixels: black ones, and those of discs


def pose_points(x: Tensor, y: Tensor, angle: Tensor, size: Tensor, height: int, width: int) -> Tensor:
    """The five points (b 5 2), as x and y in pixels, of figures at x, y (b,), shares of the picture's sides.

    angle: (b,) in degrees, in which the front points: 0 to the right, 90 down. size: (b,) of the long axis, as a share of
    the shorter side.
    """
    place = torch.tensor(PLACES, dtype=torch.float32)
    turn = angle.float() * (math.pi / 180.0)
    front = torch.stack([turn.cos(), turn.sin()], dim=1)[:, None]  # b 1 2
    side = torch.stack([-turn.sin(), turn.cos()], dim=1)[:, None]
    centre = torch.stack([x.float() * width, y.float() * height], dim=1)[:, None]
    length = size.float()[:, None, None] * min(height, width)
    return centre + length * (place[:, :1] * front + place[:, 1:] * side)


def draw_key_points(x: Tensor, y: Tensor, angle: Tensor, size: Tensor, *, height: int, width: int) -> Tensor:
    """Pictures (b 3 h w) in [-1, 1] of such figures' key points; the arguments as `pose_points` has them."""
    points = pose_points(x, y, angle, size, height, width)
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None] + 0.5
    radius = RADIUS * min(height, width)
    pictures = torch.full((len(points), 3, height, width), -1.0)
    for which, color in enumerate(COLORS):
        off = torch.hypot(columns - points[:, which, 0, None, None], rows - points[:, which, 1, None, None])  # b h w
        covered = (radius + 0.5 - off).clamp(0.0, 1.0)[:, None]
        shade = torch.tensor(color)[:, None, None] / 127.5 - 1.0
        pictures = pictures + covered * (shade - pictures)
    return pictures


def check_key_points(pictures: Tensor) -> None:
    """ValueError for pictures (b 3 h w) in [-1, 1] that are no coloured discs on black."""
    black = (pictures.amax(1) < DARK).float().flatten(1).mean(1)
    colored = (pictures.amax(1) - pictures.amin(1) > VIVID).float().flatten(1).mean(1)
    if bool(((black < MOSTLY) | (colored < ANY)).any()):
        raise ValueError(
            "this is no picture of key points, coloured discs on black: make one with Imagen Key Points, or leave it out"
        )
