"""What color is a thing's surface at a point: plain, striped, checkered, or a sign's letters?"""

import math

import torch
from torch import Tensor

from .font import stroke_distance
from .packing import PackedScenes, take
from .sdf import round_rectangle
from .vocabulary import MATERIALS, MAX_THINGS, SHAPES

STRIPED, CHECKERED = MATERIALS.index("striped"), MATERIALS.index("checkered")
_STRIPE_SHARE = 0.42  # of the other color
_TURN = 2 * math.pi


def albedo(packed: PackedScenes, shape: int, thing: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Linear reflectance (3, n) of things (n,), all of one shape, at surface points in the shape's own frame."""
    if SHAPES[shape] == "sign":
        marked = _lettering(packed, thing, x, y, z)
    else:
        stripe, check = _PATTERNS[SHAPES[shape]](x, y, z)
        material = packed.material[thing]
        striped = (material == STRIPED) & (torch.remainder(stripe, 1) < _STRIPE_SHARE)
        marked = striped | ((material == CHECKERED) & (torch.remainder(check, 2) >= 1))
    return torch.where(marked, take(packed.mark, thing), take(packed.color, thing))


def _lettering(packed: PackedScenes, thing: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    ink = stroke_distance(x, y, packed.letters[:, thing // MAX_THINGS]) < 0
    border = round_rectangle(x, y, 0.86, 0.46, 0.05).abs() < 0.016
    return (ink | border) & (z < -0.05)


# Each pattern counts stripes (one each unit) and checks (fields between whole numbers, summed) along its shape.


def _sphere(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    longitude, latitude = torch.atan2(x, -z) * (8 / _TURN), torch.asin(y.clamp(-1, 1))
    return latitude * 1.7 + 0.2, torch.floor(longitude) + torch.floor(latitude * 2.2)


def _cube(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    cells = [torch.floor((axis + 0.7401) * (3 / 1.4802)) for axis in (x, y, z)]
    return (y + 0.74) * 2.1 + 0.6, cells[0] + cells[1] + cells[2]


def _barrel(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    longitude = torch.atan2(x, -z) * (8 / _TURN)
    return (y + 0.8) * 2.0 + 0.6, torch.floor(longitude) + torch.floor((y + 0.8) * 2.0)


def _ring(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    around = torch.atan2(x, y) * (12 / _TURN)
    tube = torch.atan2(z, (x * x + y * y).sqrt() - 0.7) * (4 / _TURN)
    return around * (10 / 12), torch.floor(around) + torch.floor(tube)


def _flat(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    return (x + y) * 1.9, torch.floor(x * 2.4 + 0.5) + torch.floor(y * 2.4)


_PATTERNS = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _barrel,
    "cone": _barrel,
    "ring": _ring,
    "star": _flat,
    "heart": _flat,
}
