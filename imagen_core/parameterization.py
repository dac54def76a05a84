"""How do eps, v and x_0 turn into one another? With x_t = alpha x_0 + sigma eps and v = alpha eps - sigma x_0.

v is that of Progressive Distillation (arXiv 2202.00512, appendix D). `alpha`, `sigma` are floats or tensors that
broadcast against the pictures (see `per_image`) and satisfy alpha^2 + sigma^2 = 1. Pictures: b c h w.
"""

from __future__ import annotations

from torch import Tensor

Scale = Tensor | float

PREDICTION_TYPES = ("eps", "v", "x_0")


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """One value an image, (b,), in the shape (b 1 1 1), dtype and device that broadcast against `like` (b c h w)."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))


def diffuse(x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """x_t, the forward process (Imagen, Eq. 1)."""
    return alpha * x_0 + sigma * eps


def eps_to_x_0(eps: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """x_0 from eps; its error is that of eps times sigma / alpha."""
    return (x_t - sigma * eps) / alpha


def eps_to_v(eps: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """v from eps."""
    return (eps - sigma * x_t) / alpha


def v_to_x_0(v: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """x_0 from v; well conditioned at every t."""
    return alpha * x_t - sigma * v


def v_to_eps(v: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """eps from v; well conditioned at every t."""
    return sigma * x_t + alpha * v


def x_0_to_eps(x_0: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """eps from x_0; its error is that of x_0 times alpha / sigma."""
    return (x_t - alpha * x_0) / sigma


def x_0_to_v(x_0: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """v from x_0."""
    return (alpha * x_t - x_0) / sigma


def check_prediction_type(prediction_type: str) -> None:
    """Raise ValueError unless it is one of PREDICTION_TYPES."""
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"unknown prediction_type {prediction_type!r}: expected one of {', '.join(PREDICTION_TYPES)}")


def output_to_x_0(prediction_type: str, output: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """What a network of this prediction type put out, as x_0."""
    check_prediction_type(prediction_type)
    if prediction_type == "eps":
        return eps_to_x_0(output, x_t, alpha, sigma)
    if prediction_type == "v":
        return v_to_x_0(output, x_t, alpha, sigma)
    return output


def training_target(prediction_type: str, x_0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """What a network of this prediction type should put out, given the clean picture and the noise put on it."""
    check_prediction_type(prediction_type)
    if prediction_type == "eps":
        return eps
    if prediction_type == "v":
        return alpha * eps - sigma * x_0
    return x_0
