"""How much of the key light reaches a point past the other things, and how close is it to touching one?"""

import torch
from torch import Tensor

from . import sdf
from .packing import PackedScenes, take
from .vocabulary import MAX_THINGS, SHAPES

_SOFTNESS = 0.14  # how fast a penumbra widens with distance
_PROBES = (-0.9, -0.65, -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.65, 0.9)  # about the ray's closest approach
_FLAT = ("ring", "star", "heart", "sign")
_CONTACT_REACH = 0.45


def to_thing(vectors: Tensor, yaw: Tensor) -> Tensor:
    """World vectors (3, n) in the frames of things with this yaw (2, n)."""
    x, y, z = vectors
    cosine, sine = yaw
    return torch.stack((cosine * x - sine * z, y, sine * x + cosine * z))


def to_world(vectors: Tensor, yaw: Tensor) -> Tensor:
    """The way back from `to_thing`."""
    return to_thing(vectors, yaw * torch.tensor([[1.0], [-1.0]], device=yaw.device))


def light_reaching(packed: PackedScenes, points: Tensor, scene: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """For points (3, n) of scenes (n,): the share of key light that arrives and contact shade, (n,) in [0, 1] each.

    own: the thing (n,) that the point lies on, which casts no shadow on it; -1 for the floor.
    """
    at, thing = _blockers(packed, points, scene, own)
    light, contact = torch.ones_like(scene, dtype=torch.float32), torch.ones_like(scene, dtype=torch.float32)
    shapes = packed.shape[thing]
    for shape in range(len(SHAPES)):
        chosen = (shapes == shape).nonzero()[:, 0]
        if len(chosen):
            target, caster = at[chosen], thing[chosen]
            passed, touch = _past(packed, shape, caster, take(points, target), scene[target])
            light.scatter_reduce_(0, target, passed, "prod")
            contact.scatter_reduce_(0, target, touch, "prod")
    return light, contact


def _blockers(packed: PackedScenes, points: Tensor, scene: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (point, thing) in which the thing may shade the point."""
    light = take(packed.light, scene)
    bound = torch.tensor(sdf.BOUND, device=points.device)
    pairs = []
    for slot in range(MAX_THINGS):
        thing = scene * MAX_THINGS + slot
        shape = packed.shape[thing]
        here = ((shape >= 0) & (thing != own)).nonzero()[:, 0]
        thing, target = thing[here], here
        toward = take(packed.center, thing) - take(points, target)
        along = (toward * take(light, target)).sum(0)
        aside = (toward * toward).sum(0) - along * along
        reach = packed.radius[thing] * bound[shape[here]]
        shaded = (aside < (reach * (1 + _SOFTNESS) + _SOFTNESS * along.clamp_min(0)) ** 2) & (along > -reach)
        near = shaded | (aside + along * along < (reach + _CONTACT_REACH) ** 2)
        pairs.append((target[near], thing[near]))
    return torch.cat([target for target, _ in pairs]), torch.cat([thing for _, thing in pairs])


def _probes(shape: int, start: Tensor, light: Tensor, closest: Tensor) -> list[Tensor | float]:
    """Where along the ray to look for the thing; a flat one is also looked for where the ray crosses its plane."""
    if SHAPES[shape] not in _FLAT:
        return list(_PROBES)
    away = torch.where(light[2].abs() < 0.05, 0.05, light[2])
    return [*_PROBES[::2], (-start[2] / away - closest).clamp(-1.2, 1.2)]


def _past(packed: PackedScenes, shape: int, thing: Tensor, points: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
    yaw, radius = take(packed.yaw, thing), packed.radius[thing]
    start = to_thing(points - take(packed.center, thing), yaw) / radius  # the thing's own units
    light = to_thing(take(packed.light, scene), yaw)
    closest = -(start * light).sum(0)
    clearance = None
    for probe in _probes(shape, start, light, closest):
        along = (closest + probe).clamp_min(0.03)
        gap = sdf.distance(shape, *(start + light * along)) / (0.04 + _SOFTNESS * along)
        clearance = gap if clearance is None else torch.minimum(clearance, gap)
    passed = (clearance * 0.5 + 0.5).clamp(0, 1)
    passed = passed * passed * (3 - 2 * passed)
    touch = (1 - sdf.distance(shape, *start) * radius / _CONTACT_REACH).clamp(0, 1)
    return passed, 1 - 0.55 * touch * touch * touch
