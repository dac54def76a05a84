"""Where does the camera stand, which way does a pixel look, and where does a point in the world appear?

Frame coordinates u, v run from -1 to 1: u to the right, v up, for the square frame.
"""

import math

import torch
from torch import Tensor

EYE = (0.0, 2.4, -9.0)
_TARGET_HEIGHT = 1.05
HALF_FIELD = 0.262  # tangent of half the field of view
_TILT = math.atan2(EYE[1] - _TARGET_HEIGHT, -EYE[2])
_DOWN, _AHEAD = math.sin(_TILT), math.cos(_TILT)


def pixel_centers(start: int, count: int, side: int, device: torch.device | str = "cpu") -> Tensor:
    """u of the pixels start, start + 1, ... of a frame `side` wide, (count,); for v take the negative."""
    return (torch.arange(start, start + count, device=device, dtype=torch.float32) + 0.5) * (2 / side) - 1


def directions(u: Tensor, v: Tensor) -> Tensor:
    """Unit vectors (3, n) from the eye through frame points u, v (n,)."""
    right, up = u * HALF_FIELD, v * HALF_FIELD
    scale = (1 + right * right + up * up).rsqrt()
    return torch.stack((right * scale, (up * _AHEAD - _DOWN) * scale, (_AHEAD + up * _DOWN) * scale))


def eye(device: torch.device | str = "cpu") -> Tensor:
    """The camera's place, (3, 1)."""
    return torch.tensor(EYE, device=device)[:, None]


def project(points: Tensor) -> Tensor:
    """Frame coordinates (2, n) of points (3, n) in the world."""
    x, y, z = points - eye(points.device)
    depth = z * _AHEAD - y * _DOWN
    return torch.stack((x, y * _AHEAD + z * _DOWN)) / (depth * HALF_FIELD)
