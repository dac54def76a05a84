"""Where does everything in a scene stand: poses, sizes, colors and light as tensors that the renderer can take?

Shapes: b scenes, k = MAX_THINGS things a scene, m = b * k things in all (thing i of scene j at j * k + i).
World units: the floor is y = 0, x to the right, z away from the camera; a medium thing is about 1.5 across.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .font import word_to_letters
from .palette import backdrop_table, color_tables
from .scene import Scene
from .sdf import BOTTOM, HALF_WIDTH, TOP, resting_heights
from .vocabulary import LAYOUTS, MAX_THINGS, SHAPES, SIGN

# The radius of a small, a medium and a large thing in every layout.
_RADIUS = {
    "one": (0.60, 0.92, 1.30),
    "two": (0.52, 0.80, 1.00),
    "three": (0.42, 0.55, 0.66),
    "left": (0.52, 0.80, 1.00),
    "right": (0.52, 0.80, 1.00),
    "above": (0.72, 0.72, 0.72),
    "below": (0.72, 0.72, 0.72),
    "trio": (0.62, 0.62, 0.62),
    "sign": (2.26, 2.26, 2.26),
}
_ROW_WIDTH = 4.20  # what fits the frame, a margin left free
_STACK_HEIGHT = 2.95
_YAW = {"cube": 0.75, "sign": 0.16}  # the widest turn to either side, in radians; 0.45 for other shapes
_LAYOUT = {name: LAYOUTS.index(name) for name in LAYOUTS}


@dataclass(frozen=True, kw_only=True)
class PackedScenes:
    """b placed scenes. Colors are linear light; `shape` is -1 where a scene has fewer than k things."""

    shape: Tensor  # (m,) long
    center: Tensor  # (3, m)
    radius: Tensor  # (m,)
    yaw: Tensor  # (2, m) cosine and sine
    color: Tensor  # (3, m)
    mark: Tensor  # (3, m) the other color: stripes, checks, letters
    material: Tensor  # (m,) long
    letters: Tensor  # (MAX_LETTERS, b) long
    backdrop: Tensor  # (b,) long
    tones: Tensor  # (2, 3, b) the wall's top and foot
    light: Tensor  # (3, b) unit vectors toward the key light

    def __len__(self) -> int:
        return len(self.backdrop)

    def to(self, device: torch.device | str) -> "PackedScenes":
        return PackedScenes(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __getitem__(self, part: slice) -> "PackedScenes":
        start, stop, _ = part.indices(len(self))
        things = slice(start * MAX_THINGS, stop * MAX_THINGS)
        per_thing = ("shape", "center", "radius", "yaw", "color", "mark", "material")
        cut = {name: getattr(self, name)[..., things] for name in per_thing}
        cut |= {name: getattr(self, name)[..., start:stop] for name in ("letters", "backdrop", "tones", "light")}
        return PackedScenes(**cut)


def take(columns: Tensor, index: Tensor) -> Tensor:
    """Columns (..., n) of (..., m) by index (n,): a good deal faster than indexing with a list."""
    return columns.index_select(-1, index)


def pack(scenes: Sequence[Scene], seeds: Tensor) -> PackedScenes:
    """Places scenes; seeds (b,) long decide all that no caption could say: small turns and shifts, and the light."""
    rows = [_thing_rows(scene) for scene in scenes]
    things = torch.tensor(rows)  # (b, k, color shape material size)
    color, shape, material, size = things.unbind(-1)  # (b, k) each
    layout = torch.tensor([scene.layout for scene in scenes])
    backdrop = torch.tensor([scene.backdrop for scene in scenes])
    draws = _uniforms(seeds, 4 + 3 * MAX_THINGS)  # (b, draws) in [-1, 1]
    wobble = draws[:, 4:].unflatten(1, (3, MAX_THINGS))  # (b, 3, k)
    center, radius = _place(layout, shape, size, draws, wobble)
    yaw = _turns(shape, layout, wobble[:, 2])
    own, mark, letter = (table[:, color.reshape(-1)] for table in color_tables())
    return PackedScenes(
        shape=shape.reshape(-1),
        center=center.flatten(1),
        radius=radius.reshape(-1),
        yaw=torch.stack((yaw.cos(), yaw.sin())).flatten(1),
        color=own,
        mark=torch.where(shape.reshape(-1) == SIGN, letter, mark),
        material=material.reshape(-1),
        letters=torch.tensor([word_to_letters(scene.word) for scene in scenes]).T.contiguous(),
        backdrop=backdrop,
        tones=backdrop_table()[:, :, backdrop],
        light=_light(draws[:, 0]),
    )


def _thing_rows(scene: Scene) -> list[tuple[int, ...]]:
    return list(scene.things) + [(0, -1, 0, 1)] * (MAX_THINGS - len(scene.things))


def _place(layout: Tensor, shape: Tensor, size: Tensor, draws: Tensor, wobble: Tensor) -> tuple[Tensor, Tensor]:
    """Centers (3, b, k) and radii (b, k): a row on the floor, or one thing upon the other."""
    here = shape >= 0
    stacked = (layout == _LAYOUT["above"]) | (layout == _LAYOUT["below"])
    radius = torch.tensor([_RADIUS[name] for name in LAYOUTS])[layout[:, None], size]
    free = ~stacked & (layout != _LAYOUT["sign"])
    radius = radius * (1 + 0.05 * wobble[:, 0] * free[:, None])
    row_x, shrink = _row(layout, radius * torch.tensor(HALF_WIDTH)[shape] * here, here, draws)
    radius = radius * torch.where(stacked, _stack_shrink(shape, radius), shrink)[:, None]
    x = torch.where(stacked[:, None], 0.4 * draws[:, 2:3], row_x)
    z = 0.25 * wobble[:, 1] * free[:, None] + torch.where(stacked, 0.2 * draws[:, 3], 0.1)[:, None]
    y = radius * torch.tensor(BOTTOM)[shape] + _lift(layout, shape, radius)
    return torch.stack((x, y, z)), radius


def _row(layout: Tensor, half: Tensor, here: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """x of things side by side (b, k), and what to shrink all by so that the row fits (b,)."""
    gaps = (here.sum(1) - 1).clamp_min(0)
    gap = torch.where(gaps > 1, 0.16, 0.34) + 0.08 * draws[:, 1]
    width = 2 * half.sum(1) + gap * gaps
    shrink = (_ROW_WIDTH / width).clamp_max(1.0)
    left = 2 * (half.cumsum(1) - half) + gap[:, None] * torch.arange(half.shape[1])
    x = (left + half - width[:, None] / 2) * shrink[:, None]
    slack = ((_ROW_WIDTH - width * shrink) / 2).clamp(0, 0.4) * draws[:, 2]
    mirror = torch.where(layout == _LAYOUT["right"], -1.0, 1.0)  # the first thing stands on the right
    return x * mirror[:, None] + slack[:, None], shrink


def _stack_shrink(shape: Tensor, radius: Tensor) -> Tensor:
    first, second = shape[:, 0], shape[:, 1].clamp_min(0)
    top, bottom = torch.tensor(TOP), torch.tensor(BOTTOM)
    rest = resting_heights()
    heights = torch.stack(  # either order may be asked for: take what is needed by the taller
        (bottom[second] + rest[first, second] + top[first], bottom[first] + rest[second, first] + top[second])
    ).amax(0)
    return (_STACK_HEIGHT / (heights * radius[:, 0])).clamp_max(1.0)


def _lift(layout: Tensor, shape: Tensor, radius: Tensor) -> Tensor:
    """How much higher than on the floor each thing stands, (b, k)."""
    lift = torch.zeros_like(radius)
    bottom, rest = torch.tensor(BOTTOM), resting_heights()
    for name, upper, lower in (("above", 0, 1), ("below", 1, 0)):
        at = layout == _LAYOUT[name]
        up, low = shape[at, upper], shape[at, lower]
        lift[at, upper] = (bottom[low] + rest[up, low] - bottom[up]) * radius[at, lower]
    return lift


def _turns(shape: Tensor, layout: Tensor, wobble: Tensor) -> Tensor:
    """Yaw (b, k) in radians; the two things of a stack turn together."""
    widest = torch.tensor([_YAW.get(name, 0.45) for name in SHAPES])[shape]
    stacked = (layout == _LAYOUT["above"]) | (layout == _LAYOUT["below"])
    return torch.where(stacked[:, None], 0.35 * wobble[:, :1], widest * wobble)


def _light(draw: Tensor) -> Tensor:
    """Unit vectors (3, b) toward the light: above, in front, more or less to one side."""
    aside = 0.5 * draw + 0.25 * torch.sign(draw)
    light = torch.stack((aside, torch.full_like(draw, 1.10), torch.full_like(draw, -0.95)))
    return light / light.norm(dim=0)


def _uniforms(seeds: Tensor, count: int) -> Tensor:
    """`count` numbers in [-1, 1] for each seed, (b, count), whatever else is in the batch (the splitmix64 hash)."""
    counter = torch.arange(1, count + 1) * -0x61C8864680B583EB  # golden ratio, as a signed 64-bit number
    state = seeds[:, None] + counter
    state = (state ^ _shift(state, 30)) * -0x40A7B892E31B1A47
    state = (state ^ _shift(state, 27)) * -0x6B2FB644ECCEEE15
    return (_shift(state ^ _shift(state, 31), 40).double() / 2**23 - 1).float()


def _shift(state: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of signed 64-bit numbers."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
