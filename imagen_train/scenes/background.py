"""What does a ray see that hits no thing: a floor that curves up into a wall, at sunset a sun, at night a moon?"""

import torch
from torch import Tensor

from .camera import EYE
from .packing import PackedScenes, take
from .shadows import light_reaching
from .vocabulary import BACKDROPS

COVE_DEPTH, _COVE_WIDTH = 6.5, 2.6  # where the floor turns into the wall, and over how much depth
_FAR = 60.0
# Where a disc hangs (x on the key light's side), its radius, its color and the glow's in linear light.
_LAMPS = (
    ("sunset", (0.56, 0.42, 0.18), (1.30, 0.66, 0.20), (0.50, 0.20, 0.02)),
    ("night", (0.66, 0.72, 0.11), (0.84, 0.86, 0.82), (0.04, 0.06, 0.12)),
)


def floor_tone(packed: PackedScenes) -> Tensor:
    """Color of the lit floor, (3, b)."""
    return 0.35 * packed.tones[0] + 0.65 * packed.tones[1]


def shade_background(packed: PackedScenes, scene: Tensor, u: Tensor, v: Tensor, rays: Tensor) -> Tensor:
    """Linear light (3, n) of rays (3, n) through frame points u, v (n,) of scenes (n,)."""
    down = rays[1].clamp_max(-1e-3)
    reach = torch.where(rays[1] < -1e-3, -EYE[1] / down, _FAR).clamp_max(_FAR)
    points = torch.stack((rays[0] * reach, torch.zeros_like(reach), rays[2] * reach + EYE[2]))
    wall_share = torch.sigmoid((points[2] - COVE_DEPTH) / _COVE_WIDTH)
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
    for name, (x, y, radius), color, glow in _LAMPS:
        at = (packed.backdrop == BACKDROPS.index(name))[scene].nonzero()[:, 0]
        if len(at):
            away = ((u[at] - x * side[scene[at]]) ** 2 + (v[at] - y) ** 2).sqrt()
            disc, halo = torch.sigmoid((radius - away) / 0.003), torch.exp(-away / (1.6 * radius))
            tone, glow_tone = torch.tensor((color, glow), device=wall.device)[:, :, None]
            sky = take(wall, at) + glow_tone * halo
            wall[:, at] = sky + (tone - sky) * disc
    return wall
