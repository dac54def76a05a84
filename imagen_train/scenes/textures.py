"""What other pictures can super-resolution learn from: dead leaves, gradients, checks, words, noise fields?

Shapes: n pictures of one kind, s the side in pixels; coordinates run from 0 to 1 across the picture.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor

from .font import ALPHABET, stroke_distance
from .vocabulary import MAX_LETTERS

_LEAVES = 60
_PHRASES = 6
_OVERSAMPLE = 2  # hard edges are drawn finer and averaged


def sample_textures(count: int, side: int, seed: int) -> Tensor:
    """Random pictures (count, 3, side, side), float32 in [-1, 1]; the same arguments give the same pictures.

    The five kinds take turns, so that any run of five holds each of them once.
    """
    if count < 1 or side < 4:
        raise ValueError(f"count must be at least 1 and side at least 4, got {count} and {side}")
    generator = Generator().manual_seed(seed)
    pictures = torch.empty(count, 3, side, side)
    for kind, draw in enumerate(_KINDS):
        wanted = len(range(kind, count, len(_KINDS)))
        if wanted:
            fine = draw(wanted, side * _OVERSAMPLE, generator)  # n c s s in [0, 1]
            pictures[kind :: len(_KINDS)] = F.avg_pool2d(fine.clamp(0, 1), _OVERSAMPLE)
    return pictures * 2 - 1


def dead_leaves(count: int, side: int, generator: Generator) -> Tensor:
    """Disks and boxes of all sizes that hide one another: edges and sizes distributed as in photographs."""
    x, y = _grid(side)
    picture = _tones(count, generator)[:, :, None, None].expand(count, 3, side, side).clone()
    for _ in range(_LEAVES):
        radius = 0.02 * 20 ** torch.rand(count, 1, 1, generator=generator) ** 2
        dx, dy = _turned(x, y, torch.rand(3, count, 1, 1, generator=generator))
        stretch = 0.4 + 0.6 * torch.rand(count, 1, 1, generator=generator)
        disk = dx**2 + (dy / stretch) ** 2 < radius**2
        box = torch.maximum(dx.abs(), dy.abs() / stretch) < radius
        leaf = torch.where(torch.rand(count, 1, 1, generator=generator) < 0.6, disk, box)  # n s s
        shade = 1 + 0.4 * (dx / radius).clamp(-1, 1) * torch.rand(count, 1, 1, generator=generator)
        color = _tones(count, generator)[:, :, None, None] * shade[:, None]
        picture = torch.where(leaf[:, None], color, picture)
    return picture


def gradients(count: int, side: int, generator: Generator) -> Tensor:
    """Straight and round passages between a few tones, with a band or two of hard edges."""
    x, y = _grid(side)
    dx, dy = _turned(x, y, torch.rand(3, count, 1, 1, generator=generator))
    is_round = torch.rand(count, 1, 1, generator=generator) < 0.5
    way = torch.where(is_round, (dx**2 + dy**2).sqrt(), dx)
    share = (way * (0.6 + 2 * torch.rand(count, 1, 1, generator=generator)) + 0.5).clamp(0, 1)[:, None]
    steps = torch.randint(3, 9, (count, 1, 1, 1), generator=generator)
    hard = torch.rand(count, 1, 1, 1, generator=generator) < 0.3
    share = torch.where(hard, torch.floor(share * steps) / steps, share)
    start, end = (_tones(count, generator)[:, :, None, None] for _ in range(2))
    return start + (end - start) * share


def checks(count: int, side: int, generator: Generator) -> Tensor:
    """Stripes and checks at any angle and pitch, seen in perspective."""
    x, y = _grid(side)
    dx, dy = _turned(x, y, torch.rand(3, count, 1, 1, generator=generator))
    nearer = 1 + 0.8 * (y - 0.5) * torch.rand(count, 1, 1, generator=generator)
    pitch = 3 + 25 * torch.rand(count, 1, 1, generator=generator) ** 2
    across, along = torch.floor(dx * pitch / nearer), torch.floor(dy * pitch / nearer)
    stripes = torch.rand(count, 1, 1, generator=generator) < 0.4
    odd = torch.remainder(across + torch.where(stripes, 0.0, along), 2)[:, None]
    one, other = (_tones(count, generator)[:, :, None, None] for _ in range(2))
    return one + (other - one) * odd


def strokes(count: int, side: int, generator: Generator) -> Tensor:
    """Words at random places, sizes and angles over a soft ground."""
    picture = gradients(count, side, generator)
    x, y = _grid(side)
    for _ in range(_PHRASES):
        dx, dy = _turned(x, y, torch.rand(3, count, 1, 1, generator=generator))
        size = 0.1 + 0.5 * torch.rand(count, 1, 1, generator=generator) ** 2
        letters = torch.randint(0, len(ALPHABET), (MAX_LETTERS, count), generator=generator)
        length = torch.randint(2, MAX_LETTERS + 1, (count,), generator=generator)
        letters[torch.arange(MAX_LETTERS)[:, None] >= length] = -1
        ink = _ink(dx / size, -dy / size, letters)
        picture = torch.where(ink[:, None], _tones(count, generator)[:, :, None, None], picture)
    return picture


def _ink(x: Tensor, y: Tensor, letters: Tensor) -> Tensor:
    """Where (n, s, s) the words (MAX_LETTERS, n) have ink; x, y (n, s, s) in units of a sign."""
    ink = torch.zeros(x.shape, dtype=torch.bool)
    near = (x.abs() < 0.9) & (y.abs() < 0.5)
    ink[near] = stroke_distance(x[near], y[near], letters[:, near.nonzero()[:, 0]]) < 0
    return ink


def noise_fields(count: int, side: int, generator: Generator) -> Tensor:
    """Sums of smooth random fields, each octave finer and fainter: clouds, stone, grass."""
    total = torch.zeros(count, 3, side, side)
    fading = 0.45 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    for octave in range(int(math.log2(side))):
        cells = 2 ** (octave + 1)
        field = torch.randn(count, 3, cells, cells, generator=generator)
        field = 0.7 * field.mean(1, keepdim=True) + 0.5 * field  # colors vary together, mostly
        total += fading**octave * F.interpolate(field, (side, side), mode="bicubic", align_corners=False)
    return _tones(count, generator)[:, :, None, None] + 0.16 * total


_KINDS: tuple[Callable[[int, int, Generator], Tensor], ...] = (dead_leaves, gradients, checks, strokes, noise_fields)


def _grid(side: int) -> tuple[Tensor, Tensor]:
    """x and y of pixel centers, (1, 1, s) and (1, s, 1)."""
    centers = (torch.arange(side) + 0.5) / side
    return rearrange(centers, "s -> 1 1 s"), rearrange(centers, "s -> 1 s 1")


def _turned(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (n, s, s) about a random middle at a random angle; draws (3, n, 1, 1) in [0, 1]."""
    dx, dy, angle = x - draws[0], y - draws[1], 2 * math.pi * draws[2]
    return dx * angle.cos() - dy * angle.sin(), dx * angle.sin() + dy * angle.cos()


def _tones(count: int, generator: Generator) -> Tensor:
    """Random colors (n, 3) in [0, 1], some of them grays."""
    color, gray = torch.rand(count, 3, generator=generator), torch.rand(count, 1, generator=generator)
    grayness = torch.rand(count, 1, generator=generator)
    return color + (gray - color) * grayness
