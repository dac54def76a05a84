"""How strongly and which way does a picture's brightness change? A blur, Sobel's operator, and where it is strongest.

Canny, "A computational approach to edge detection" (1986). Borders are read as scikit-image's `canny` reads them, with
which the edges agree.

Shapes: b images, h w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(b 1 h w) under a Gaussian of `sigma` pixels; what lies beyond the border does not count."""
    radius = int(4.0 * sigma + 0.5)
    if radius < 1:
        return x
    taps = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = kernel / kernel.sum()

    def under(y: Tensor) -> Tensor:
        return F.conv2d(
            F.conv2d(y, kernel.view(1, 1, -1, 1), padding=(radius, 0)), kernel.view(1, 1, 1, -1), padding=(0, radius)
        )

    return under(x) / under(torch.ones_like(x[:1])).clamp_min(torch.finfo(x.dtype).tiny)


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """How (b 1 h w) changes downwards and to the right, each (b 1 h w); a step of 1 is 4."""
    across = torch.tensor([-1.0, 0.0, 1.0], dtype=x.dtype, device=x.device)
    along = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device)
    down = torch.outer(across, along)
    around = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(around, down[None, None]), F.conv2d(around, down.T[None, None])


def ridges(down: Tensor, right: Tensor) -> Tensor:
    """Where the gradient (b 1 h w, twice) is no weaker than before and behind it, read between pixels: bool.

    The outermost pixels have no neighbours to be compared with, and are none.
    """
    strength = torch.hypot(down, right)
    steep = down.abs() >= right.abs()
    share = torch.where(steep, right.abs() / down.abs().clamp_min(1e-30), down.abs() / right.abs().clamp_min(1e-30))
    rising = down * right >= 0  # both ways grow together: the diagonal one is the main diagonal

    def neighbour(sign: int) -> Tensor:
        axis = torch.where(steep, _shifted(strength, sign, 0), _shifted(strength, 0, sign))
        main = _shifted(strength, sign, sign)
        other = torch.where(steep, _shifted(strength, sign, -sign), _shifted(strength, -sign, sign))
        return axis.lerp(torch.where(rising, main, other), share)

    kept = (neighbour(1) <= strength) & (neighbour(-1) <= strength)
    inside = torch.zeros_like(kept)
    inside[..., 1:-1, 1:-1] = True
    return kept & inside


def _shifted(x: Tensor, rows: int, columns: int) -> Tensor:
    """x at so many rows further down and columns further right."""
    height, width = x.shape[-2:]
    around = F.pad(x, (1, 1, 1, 1))
    return around[..., 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]


def connected(weak: Tensor, strong: Tensor) -> Tensor:
    """The weak pixels (b 1 h w, bool) from which a path of weak ones leads to a strong one (hysteresis)."""
    found = (weak & strong).float()
    while True:
        grown = F.max_pool2d(found, 3, stride=1, padding=1) * weak
        if torch.equal(grown, found):
            return found > 0
        found = grown
