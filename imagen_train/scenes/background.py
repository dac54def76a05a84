"""What does a ray see that hits no thing: a floor that curves up into a wall, at sunset a sun, at night a moon?"""

import torch
from torch import Tensor

from .camera import EYE
from .packing import PackedScenes, take
from .shadows import light_reaching
from .vocabulary import BACKDROPS

_COVE_DEPTH, _COVE_WIDTH = 6.5, 2.6  # where the floor turns into the wall, and over how much depth
_FAR = 60.0
# Where a disc hangs (x on the key light's side), its radius and glow; its color in linear light.
_LAMPS = (
    ("sunset", (0.55, 0.40, 0.17, 0.30), (0.99, 0.80, 0.50)),
    ("night", (0.66, 0.72, 0.10, 0.10), (0.86, 0.87, 0.80)),
)


def floor_tone(packed: PackedScenes) -> Tensor:
    """Color of the lit floor, (3, b)."""
    return 0.35 * packed.tones[0] + 0.65 * packed.tones[1]


def shade_background(packed: PackedScenes, scene: Tensor, u: Tensor, v: Tensor, rays: Tensor) -> Tensor:
    """Linear light (3, n) of rays (3, n) through frame points u, v (n,) of scenes (n,)."""
    down = rays[1].clamp_max(-1e-3)
    reach = torch.where(rays[1] < -1e-3, -EYE[1] / down, _FAR).clamp_max(_FAR)
    points = torch.stack((rays[0] * reach, torch.zeros_like(reach), rays[2] * reach + EYE[2]))
    wall_share = torch.sigmoid((points[2] - _COVE_DEPTH) / _COVE_WIDTH)
    height = (0.5 + 0.5 * v).clamp(0, 1)
    top, foot = take(packed.tones, scene)
    wall = foot + (top - foot) * height
    wall = _sky(packed, wall, scene, u, v)
    floor = take(floor_tone(packed), scene) * _floor_light(packed, points, scene, wall_share)
    return (floor + (wall - floor) * wall_share) * (1 - 0.10 * (u * u + v * v))


def _floor_light(packed: PackedScenes, points: Tensor, scene: Tensor, wall_share: Tensor) -> Tensor:
    lit = torch.ones_like(wall_share)
    near = (wall_share < 0.95).nonzero()[:, 0]
    light, contact = light_reaching(packed, take(points, near), scene[near], torch.full_like(near, -1))
    lit[near] = (0.45 + 0.55 * light) * contact
    return lit


def _sky(packed: PackedScenes, wall: Tensor, scene: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The wall with a low sun or a moon, on the side that the key light comes from."""
    side = torch.where(packed.light[0] < 0, -1.0, 1.0)
    for name, (x, y, radius, glow), color in _LAMPS:
        at = (packed.backdrop == BACKDROPS.index(name))[scene].nonzero()[:, 0]
        if len(at):
            away = ((u[at] - x * side[scene[at]]) ** 2 + (v[at] - y) ** 2).sqrt()
            share = torch.sigmoid((radius - away) / 0.006) + glow * torch.exp(-((away / (2.2 * radius)) ** 2))
            tone = torch.tensor(color, device=wall.device)[:, None]
            wall[:, at] += (tone - wall[:, at]) * share.clamp(0, 1)
    return wall
