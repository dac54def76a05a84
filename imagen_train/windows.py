"""Which part of a large picture is worth learning from? Windows where its detail is, and crops turned about.

Shapes: b pictures, h w pixels, s a picture's side, w a window's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .scenes import SceneBatch
from .scenes.renderer import render


def detail(pictures: Tensor) -> Tensor:
    """Where something happens: (b 3 h w) -> (b h w), differences to the right and lower neighbours."""
    right = F.pad((pictures[..., :, 1:] - pictures[..., :, :-1]).abs().sum(1), (0, 1))
    below = F.pad((pictures[..., 1:, :] - pictures[..., :-1, :]).abs().sum(1), (0, 0, 0, 1))
    return right + below


def detailed_window(scene: SceneBatch, side: int, window: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """A window (x, y, w, h) of one scene's frame around a point drawn where detail is."""
    small = 64
    density = detail(render(scene, small, supersample=1))[0].square().flatten()
    index = int(torch.multinomial(density + 1e-4, 1, generator=generator))
    scale, limit = side // small, side - window
    jitter = torch.randint(-window // 3, window // 3 + 1, (2,), generator=generator).tolist()
    y = min(max((index // small) * scale - window // 2 + jitter[0], 0), limit)
    x = min(max((index % small) * scale - window // 2 + jitter[1], 0), limit)
    return (x, y, window, window)


def lively_windows(picture: np.ndarray, window: int, count: int, generator: torch.Generator) -> list[np.ndarray]:
    """Windows (w w 3) of a picture (s s 3) around points drawn where its detail is."""
    side, cell = picture.shape[0], 8
    small = torch.from_numpy(np.ascontiguousarray(picture[::cell, ::cell])).permute(2, 0, 1)[None].float()
    density = detail(small)[0].flatten() + 1.0
    places = torch.multinomial(density, count, replacement=True, generator=generator).tolist()
    jitter = torch.randint(-window // 3, window // 3 + 1, (count, 2), generator=generator).tolist()
    columns, found = side // cell, []
    for place, (down, right) in zip(places, jitter, strict=True):
        y = min(max(place // columns * cell - window // 2 + down, 0), side - window)
        x = min(max(place % columns * cell - window // 2 + right, 0), side - window)
        found.append(picture[y : y + window, x : x + window])
    return found


def liveliness(crop: np.ndarray) -> float:
    """How much a crop (h w 3) varies; of several crops the largest is the one to learn from."""
    return float(crop[::4, ::4].astype(np.float32).std(axis=(0, 1)).sum())


def turned(crop: np.ndarray, which: int) -> np.ndarray:
    """One of a square's eight symmetries."""
    crop = crop[::-1] if which & 1 else crop
    crop = crop[:, ::-1] if which & 2 else crop
    return crop.transpose(1, 0, 2) if which & 4 else crop
