"""Where does a ray first meet a thing, and what light does that point send back?"""

from typing import NamedTuple

import torch
from torch import Tensor

from . import sdf
from .background import floor_tone
from .camera import eye
from .materials import albedo
from .packing import PackedScenes, take
from .shadows import light_reaching, to_thing, to_world
from .vocabulary import MATERIALS, MAX_THINGS, SHAPES

_STEPS, _COMPACT_EVERY = 42, 6
_KEY = 0.98  # strength of the key light, which is white, so that colors stay what the caption calls them
_GLOSS = {"matte": 0.05, "shiny": 1.0, "striped": 0.22, "checkered": 0.22}


class Hits(NamedTuple):
    """The n nearest surface points: which ray sees them, on which thing, how far from the eye."""

    ray: Tensor  # (n,) long
    thing: Tensor  # (n,) long
    reach: Tensor  # (n,)


def find_hits(packed: PackedScenes, scene: Tensor, rays: Tensor, tolerance: float) -> Hits:
    """The nearest hit of each ray (3, r) that has one; tolerance in world units says how near counts as touching."""
    ray, thing, near = _candidates(packed, scene, rays)
    reach = torch.full_like(near, torch.inf)
    shapes = packed.shape[thing]
    for shape in range(len(SHAPES)):
        chosen = (shapes == shape).nonzero()[:, 0]
        if len(chosen):
            reach[chosen] = _march(packed, shape, thing[chosen], take(rays, ray[chosen]), near[chosen], tolerance)
    nearest = torch.full_like(rays[0], torch.inf).scatter_reduce_(0, ray, reach, "amin")
    first = (reach.isfinite() & (reach == nearest[ray])).nonzero()[:, 0]
    return Hits(ray[first], thing[first], reach[first])


def _candidates(packed: PackedScenes, scene: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (ray, thing) whose bounding sphere the ray enters, and where it does."""
    bound = torch.tensor(sdf.BOUND, device=rays.device)
    toward = packed.center - eye(rays.device)  # (3, m)
    margin = (toward * toward).sum(0) - (packed.radius * bound[packed.shape]) ** 2
    found = []
    for slot in range(MAX_THINGS):
        thing = scene * MAX_THINGS + slot
        along = (take(toward, thing) * rays).sum(0)
        inside = along * along - margin[thing]
        ray = ((inside > 0) & (packed.shape[thing] >= 0)).nonzero()[:, 0]
        found.append((ray, thing[ray], along[ray] - inside[ray].sqrt()))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _march(packed: PackedScenes, shape: int, thing: Tensor, rays: Tensor, near: Tensor, tolerance: float) -> Tensor:
    """Sphere tracing from `near` on: how far each ray (3, n) goes, infinite where it passes by."""
    if SHAPES[shape] == "sphere":
        return near  # its bounding sphere is itself
    radius, yaw = packed.radius[thing], take(packed.yaw, thing)
    ray = to_thing(rays, yaw)
    start = (to_thing(eye(rays.device) - take(packed.center, thing), yaw) + ray * near) / radius  # the shape's units
    leave = -2 * (start * ray).sum(0)
    close, walked = tolerance / radius, torch.zeros_like(near)
    result, active = torch.full_like(near, torch.inf), torch.arange(len(near), device=near.device)
    for step in range(_STEPS):
        gap = sdf.distance(shape, *(start + ray * walked))
        walked = walked + gap * sdf.STEP[shape]
        if step % _COMPACT_EVERY == _COMPACT_EVERY - 1 or step == _STEPS - 1:
            arrived = gap < close
            result[active[arrived]] = (walked * radius)[arrived]
            going = (~arrived & (walked < leave)).nonzero()[:, 0]
            active, start, ray = active[going], take(start, going), take(ray, going)
            walked, radius, close, leave = walked[going], radius[going], close[going], leave[going]
            if not len(active):
                break
    return result + near


def shade_hits(packed: PackedScenes, scene: Tensor, rays: Tensor, hits: Hits) -> Tensor:
    """Linear light (3, n) from hit points toward the eye."""
    scene, ray, thing = scene[hits.ray], take(rays, hits.ray), hits.thing
    points = eye(rays.device) + ray * hits.reach
    normal, color = _surface(packed, thing, points)
    passed, contact = light_reaching(packed, points, scene, thing)
    height = (points[1] / 0.5).clamp(0, 1)
    ambient = _ambient(packed, scene, normal) * (0.55 + 0.45 * height) * contact
    light = take(packed.light, scene)
    facing = ((normal * light).sum(0) + 0.15).clamp_min(0) / 1.15 * passed
    glint = _reflections(packed, scene, thing, ray, normal, light, passed)
    return color * (ambient + _KEY * facing) + glint


def _surface(packed: PackedScenes, thing: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """World normals and reflectances, (3, n) each."""
    yaw = take(packed.yaw, thing)
    local = to_thing(points - take(packed.center, thing), yaw) / packed.radius[thing]
    normal, color = torch.empty_like(local), torch.empty_like(local)
    shapes = packed.shape[thing]
    for shape in range(len(SHAPES)):
        chosen = (shapes == shape).nonzero()[:, 0]
        if len(chosen):
            here = take(local, chosen)
            normal[:, chosen] = here if SHAPES[shape] == "sphere" else sdf.normal(shape, *here)
            color[:, chosen] = albedo(packed, shape, thing[chosen], *here)
    return to_world(normal, yaw), color


def _ambient(packed: PackedScenes, scene: Tensor, normal: Tensor) -> Tensor:
    """Light from all around, (3, n): nearly gray, with a breath of the backdrop's color from below."""
    floor, foot = floor_tone(packed), packed.tones[1]
    sky = 0.22 + 0.24 * foot.mean(0, keepdim=True)  # (1, b)
    bounce = 0.05 + 0.24 * (0.85 * floor.mean(0, keepdim=True) + 0.15 * floor)  # (3, b)
    upward = 0.5 + 0.5 * normal[1]
    return take(bounce, scene) + take(sky - bounce, scene) * upward


def _reflections(
    packed: PackedScenes, scene: Tensor, thing: Tensor, ray: Tensor, normal: Tensor, light: Tensor, passed: Tensor
) -> Tensor:
    """Mirrored surroundings and the light's highlight, (3, n)."""
    gloss = torch.tensor([_GLOSS[name] for name in MATERIALS], device=ray.device)[packed.material[thing]]
    toward_eye = -(normal * ray).sum(0)
    grazing = (1 - toward_eye.clamp(0, 1)) ** 4
    mirrored = ray + 2 * toward_eye * normal
    window = torch.sigmoid((mirrored[1] - 0.50) * 16) * torch.sigmoid((0.42 - (mirrored[0] - light[0]).abs()) * 16)
    foot = 0.5 * packed.tones[1] + 0.5 * packed.tones[1].mean(0)  # half gray, so that gray things stay gray
    above = take(foot, scene) * (0.5 + 0.5 * mirrored[1]) + 0.7 * window
    below = take(floor_tone(packed), scene) * 0.6
    around = below + (above - below) * torch.sigmoid(mirrored[1] * 30)
    half = light - ray
    sharp = ((normal * half).sum(0) * (half * half).sum(0).rsqrt()).clamp_min(0)
    spot = torch.where(gloss > 0.9, 1.5 * sharp**120, 0.12 * sharp**24) * passed
    return gloss * (0.06 + 0.5 * grazing) * around + spot + grazing * (0.04 + 0.04 * take(foot, scene))
