"""How near is what a rendered scene shows, place by place? Along the very rays that the picture is drawn with.

Nearness is one over the distance, as estimators of depth say it (MiDaS, arXiv 1907.01341, section 5), between FAR and NEAR.

Shapes: b scenes, s a picture's side, r rays of a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .background import COVE_DEPTH
from .camera import EYE, HALF_FIELD, directions, pixel_centers
from .packing import PackedScenes, pack
from .sampler import SceneBatch
from .surfaces import find_hits

NEAR, FAR = 6.0, 16.0  # from the eye: the floor at the lower border, and the wall
CHUNK = 16  # scenes at once


@torch.no_grad()
def nearness(batch: SceneBatch, side: int) -> Tensor:
    """(b s s) in [0, 1]: 0 at the wall, 1 at the nearest of the floor; one ray a pixel."""
    packed = pack(batch.scenes, batch.seeds)
    parts = [_reach(packed[first : first + CHUNK], side) for first in range(0, len(packed), CHUNK)]
    return ((1.0 / torch.cat(parts) - 1.0 / FAR) / (1.0 / NEAR - 1.0 / FAR)).clamp(0.0, 1.0)


def _reach(packed: PackedScenes, side: int) -> Tensor:
    """How far each pixel's ray goes, (b s s)."""
    across = pixel_centers(0, side, side)
    grid = (len(packed), side, side)
    u, v = across.expand(grid).reshape(-1), (-across)[:, None].expand(grid).reshape(-1)
    scene = torch.arange(len(packed))[:, None, None].expand(grid).reshape(-1)
    rays = directions(u, v)  # 3 r
    reach = _behind(rays)
    hits = find_hits(packed, scene, rays, tolerance=min(0.006, 1.8 * HALF_FIELD / side))
    reach[hits.ray] = torch.minimum(reach[hits.ray], hits.reach)
    return reach.view(grid)


def _behind(rays: Tensor) -> Tensor:
    """How far rays (3 r) go to the floor or the wall: (r,)."""
    wall = (COVE_DEPTH - EYE[2]) / rays[2]
    floor = torch.where(rays[1] < -1e-3, -EYE[1] / rays[1].clamp_max(-1e-3), torch.inf)
    return torch.minimum(floor, wall)
