"""How does a batch of scenes become pictures, at any size and in any window?

One ray looks through each pixel's center; a pixel at an edge of a thing, shadow or pattern gets supersample^2 rays.
Shapes: b scenes, r rays of a chunk; vectors are (3, r).
"""

import torch
from torch import Tensor

from .background import shade_background
from .camera import HALF_FIELD, directions, pixel_centers
from .packing import PackedScenes, pack, take
from .sampler import SceneBatch
from .surfaces import find_hits, shade_hits

_EDGE = 0.035  # neighbors that differ by more than this share of full scale are an edge
_CHUNK = {"cpu": 1 << 19, "cuda": 1 << 22}  # rays at once: fewer waste time between operations, more only memory

Window = tuple[int, int, int, int]


@torch.no_grad()
def render(
    batch: SceneBatch,
    side: int,
    *,
    supersample: int = 2,
    window: Window | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Pictures (b, 3, h, w) of the scenes, float32 in [-1, 1], display-encoded (gamma 2.2).

    side: the whole frame's width and height in pixels. supersample: rays across a pixel at edges, 1 for none.
    window: (x, y, w, h) in pixels draws that part of the frame only, the same as cut out of the whole.
    """
    x, y, width, height = window or (0, 0, side, side)
    if min(x, y) < 0 or min(width, height) < 1 or x + width > side or y + height > side:
        raise ValueError(f"window must be (x, y, w, h) inside a frame of {side} x {side} pixels, got {window}")
    if supersample < 1:
        raise ValueError(f"supersample must be 1 or more, got {supersample}")
    packed = pack(batch.scenes, batch.seeds).to(device)
    images = torch.empty(len(packed), 3, height, width, device=device)
    rays = _CHUNK.get(torch.device(device).type, 1 << 22)
    rows = max(1, min(height, rays // width))
    scenes = max(1, rays // (rows * width))
    for first in range(0, len(packed), scenes):
        for top in range(0, height, rows):
            part = (x, y + top, width, min(rows, height - top))
            images[first : first + scenes, :, top : top + rows] = _draw(
                packed[first : first + scenes], side, part, supersample
            )
    return images * 2 - 1


def _draw(packed: PackedScenes, side: int, window: Window, supersample: int) -> Tensor:
    """One chunk, (b, 3, h, w) in [0, 1]."""
    x, y, width, height = window
    border = 0 if supersample == 1 else 1  # neighbors outside the window decide about edges too
    u = pixel_centers(x - border, width + 2 * border, side, packed.light.device)
    v = -pixel_centers(y - border, height + 2 * border, side, packed.light.device)
    grid = (len(packed), len(v), len(u))
    scene = torch.arange(len(packed), device=u.device)[:, None, None].expand(grid).reshape(-1)
    color, thing = _trace(packed, scene, u.repeat(grid[0] * grid[1]), v[:, None].expand(grid).reshape(-1), side)
    image = color.view(3, *grid)
    if supersample > 1:
        edges = _edges(image, thing.view(grid))
        image = image[:, :, 1:-1, 1:-1].contiguous()
        at = edges.nonzero(as_tuple=True)
        image[(slice(None), *at)] = _supersample(packed, at[0], u[at[2] + 1], v[at[1] + 1], side, supersample)
    return image.permute(1, 0, 2, 3)


def _edges(image: Tensor, thing: Tensor) -> Tensor:
    """Which inner pixels of (3, b, h, w) differ from one of their eight neighbors, (b, h - 2, w - 2)."""
    middle_image, middle_thing = image[:, :, 1:-1, 1:-1], thing[:, 1:-1, 1:-1]
    height, width = thing.shape[1] - 2, thing.shape[2] - 2
    edges = torch.zeros(thing.shape[0], height, width, dtype=torch.bool, device=thing.device)
    for dy, dx in ((0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        down, right = slice(dy, dy + height), slice(dx, dx + width)
        edges |= middle_thing != thing[:, down, right]
        edges |= ((middle_image - image[:, :, down, right]).abs() > _EDGE).any(0)
    return edges


def _supersample(packed: PackedScenes, scene: Tensor, u: Tensor, v: Tensor, side: int, count: int) -> Tensor:
    """The mean color (3, n) over count x count rays through each of n pixels."""
    offset = ((torch.arange(count, device=u.device) + 0.5) / count - 0.5) * (2 / side)
    us = (u[:, None, None] + offset).expand(-1, count, count).reshape(-1)
    vs = (v[:, None, None] + offset[:, None]).expand(-1, count, count).reshape(-1)
    color, _ = _trace(packed, scene.repeat_interleave(count * count), us, vs, side)
    return color.view(3, -1, count * count).mean(-1)


def _trace(packed: PackedScenes, scene: Tensor, u: Tensor, v: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Display color (3, r) in [0, 1] of rays, and the thing (r,) that each one sees, -1 for none."""
    rays = directions(u, v)
    pixel = 18 * HALF_FIELD / side  # a pixel's size in the world, where the things are
    hits = find_hits(packed, scene, rays, tolerance=min(0.006, 0.1 * pixel))
    thing = torch.full_like(scene, -1)
    thing[hits.ray] = hits.thing
    color = torch.empty_like(rays)
    open_ = (thing < 0).nonzero()[:, 0]
    color[:, open_] = shade_background(packed, scene[open_], u[open_], v[open_], take(rays, open_))
    color[:, hits.ray] = shade_hits(packed, scene, rays, hits)
    return _display(color), thing


def _display(light: Tensor) -> Tensor:
    """Linear light to display values in [0, 1]: a soft shoulder, then gamma."""
    light = light.clamp_min(0)
    return (light * (1 + 0.12 * light) / (1 + 0.24 * light) * 1.04).clamp(0, 1) ** (1 / 2.2)
