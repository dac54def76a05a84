"""What form has each shape: signed distances in the shape's own unit, negative inside, y up, the front at -z.

Formulas for exact distances to boxes, tori, stars and hearts follow Inigo Quilez, "2D/3D distance functions".
Points are three (n,) tensors x, y, z throughout; a distance is (n,).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from .vocabulary import SHAPES

# Each shape about its origin: how far down and up and sideways (at any yaw) it reaches, and its bounding sphere.
BOTTOM = (1.0, 0.74, 0.80, 0.80, 1.0, 0.824, 0.96, 0.74)
TOP = (1.0, 0.74, 0.80, 1.06, 1.0, 1.0, 0.84, 0.52)
HALF_WIDTH = (1.0, 1.03, 0.72, 0.82, 1.0, 1.0, 1.0, 0.92)
BOUND = (1.0, 1.23, 1.06, 1.15, 1.0, 1.04, 1.08, 1.05)
_TINY = 1e-12  # keeps square roots away from an infinite slope at zero


def _length(x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    squares = torch.addcmul(x * x, y, y)
    return (squares if z is None else torch.addcmul(squares, z, z)).clamp_min(_TINY).sqrt()


def _corner(a: Tensor, b: Tensor) -> Tensor:
    """Distance to the region where both a and b are negative, from the distances to its two sides."""
    return torch.maximum(a, b).clamp_max(0) + _length(a.clamp_min(0), b.clamp_min(0))


def _box(x: Tensor, y: Tensor, z: Tensor, half: tuple[float, float, float], rounding: float) -> Tensor:
    a, b, c = x.abs() - half[0], y.abs() - half[1], z.abs() - half[2]
    inside = torch.maximum(torch.maximum(a, b), c).clamp_max(0)
    return inside + _length(a.clamp_min(0), b.clamp_min(0), c.clamp_min(0)) - rounding


def round_rectangle(x: Tensor, y: Tensor, half_x: float, half_y: float, rounding: float) -> Tensor:
    """Distance to a flat rectangle with round corners, whose outer half sizes are given."""
    return _corner(x.abs() - half_x + rounding, y.abs() - half_y + rounding) - rounding


def sphere(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return _length(x, y, z) - 1


def cube(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return _box(x, y, z, (0.66, 0.66, 0.66), 0.08)


def cylinder(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return round_rectangle(_length(x, z), y, 0.72, 0.80, 0.08)


def cone(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    slope, height = 0.8, 1.75  # the flank falls from (0, 0.92) by `height` for `slope` outward
    flank = (_length(x, z) * height + (y - 0.92) * slope) / math.hypot(slope, height)
    return _corner(flank, -0.74 - y) - 0.06


def ring(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return _length(_length(x, y) - 0.70, z) - 0.30


def star(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    fold = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, y) + fold / 2, fold) - fold / 2
    reach = _length(x, y)
    px, py = reach * angle.sin().abs(), reach * angle.cos()  # one half of one point, tip up
    tip, notch_x, notch_y = 0.92, 0.44 * math.sin(fold / 2), 0.44 * math.cos(fold / 2)
    ex, ey = notch_x, notch_y - tip
    along = ((px * ex + (py - tip) * ey) / (ex * ex + ey * ey)).clamp(0, 1)
    distance = _length(px - ex * along, py - tip - ey * along)
    side = torch.sign((py - tip) * ex - px * ey)
    return _corner(distance * side, z.abs() - 0.22) - 0.08


def heart(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    size = 1.45
    px, py = x.abs() / size, (y + 0.86) / size
    lobe = _length(px - 0.25, py - 0.75) - math.sqrt(2) / 4
    diagonal = 0.5 * (px + py).clamp_min(0)
    flank = torch.minimum(px**2 + (py - 1) ** 2, (px - diagonal) ** 2 + (py - diagonal) ** 2)
    lower = (flank + _TINY).sqrt() * torch.sign(px - py)
    outline = torch.where(px + py > 1, lobe, lower) * size
    return _corner(outline, z.abs() - 0.22) - 0.10


def sign(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    board = _box(x, y, z, (0.86, 0.46, 0.04), 0.06)
    posts = _box(x.abs() - 0.55, y + 0.58, z - 0.02, (0.04, 0.14, 0.04), 0.02)
    return torch.minimum(board, posts)


_DISTANCES = (sphere, cube, cylinder, cone, ring, star, heart, sign)
STEP = tuple(0.9 if name in ("cone", "star", "heart") else 1.0 for name in SHAPES)  # safe share of a distance


def distance(shape: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Signed distance (n,) of points to the shape with this index in SHAPES."""
    return _DISTANCES[shape](x, y, z)


def normal(shape: int, x: Tensor, y: Tensor, z: Tensor, step: float = 0.006) -> Tensor:
    """Unit outward normals (3, n), from differences at a tetrahedron's four corners."""
    total = None
    for sx, sy, sz in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        value = distance(shape, x + sx * step, y + sy * step, z + sz * step)
        corner = torch.stack((sx * value, sy * value, sz * value))
        total = corner if total is None else total + corner
    return total / _length(*total)


@lru_cache(maxsize=1)
def resting_heights() -> Tensor:
    """How high one shape's origin is above another's when it stands on it: (top shape, bottom shape), equal sizes.

    Both are upright with the same yaw; height maps of both on a fine grid are brought into touch.
    """
    across, up = torch.linspace(-1.05, 1.05, 43), torch.linspace(-1.1, 1.1, 111)
    y, x, z = (axis.reshape(-1) for axis in torch.meshgrid(up, across, across, indexing="ij"))
    highest, lowest = [], []
    for shape in range(len(SHAPES)):
        inside = (distance(shape, x, y, z) <= 0).view(len(up), -1)  # (heights, columns)
        highest.append(torch.where(inside, up[:, None], -9.0).amax(0))
        lowest.append(torch.where(inside, up[:, None], 9.0).amin(0))
    touch = torch.stack(highest)[None] - torch.stack(lowest)[:, None]  # (top, bottom, columns)
    return touch.amax(-1)
