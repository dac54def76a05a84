"""How do picture and noise make x_t, and how is the noise read back? With x_t = alpha x_0 + sigma eps.

`alpha`, `sigma` are floats or tensors that broadcast against the pictures (see `per_image`) and satisfy
alpha^2 + sigma^2 = 1. Pictures: b c h w, or any other axes behind the batch.
"""

from __future__ import annotations

from torch import Tensor

Scale = Tensor | float


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """One value an image, (b,), in the shape (b 1 1 1), dtype and device that broadcast against `like` (b c h w)."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))


def diffuse(x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """x_t, the forward process (Imagen, Eq. 1)."""
    return alpha * x_0 + sigma * eps


def x_0_to_eps(x_0: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """eps from x_0; its error is that of x_0 times alpha / sigma."""
    return (x_t - alpha * x_0) / sigma
