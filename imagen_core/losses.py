"""What is minimised? The squared error of x_0, weighted by noise level (Imagen, Eq. 2; min-SNR: arXiv 2303.09556).

Shapes: b images, c h w a picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .parameterization import diffuse, per_image
from .predictions import prediction_of
from .schedules import Schedule


def draw_times(count: int, generator: torch.Generator, *, power: float, t_min: float = 1e-3) -> Tensor:
    """Stratified times (b,) in [t_min, 1]: t = u^power; power < 1 prefers noise, 1 is uniform.

    Stratified (one draw in each of b equal cells): the loss of one batch depends less on luck.
    """
    u = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return t_min + (1 - t_min) * u**power


def loss_weight(sigma: Tensor, max_weight: float) -> Tensor:
    """Weight on the x_0 error: 1 / sigma^2, which is the v loss, capped lest nearly clean pictures drown the rest."""
    return sigma.square().clamp(min=1 / max_weight).reciprocal()


# Weight on the x_0 error by (alpha, sigma, cap): whichever a network predicts, each is what its name minimises.
WEIGHTINGS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "capped_v": lambda alpha, sigma, cap: loss_weight(sigma, cap),
    "min_snr": lambda alpha, sigma, cap: (alpha / sigma).square().clamp(max=cap),  # section 3.4, gamma is the cap
    "x_0": lambda alpha, sigma, cap: torch.ones_like(sigma),
    "eps": lambda alpha, sigma, cap: (alpha / sigma).square(),
    "v": lambda alpha, sigma, cap: sigma.square().reciprocal(),
    "flow": lambda alpha, sigma, cap: ((alpha + sigma) / sigma).square(),  # of the velocity eps - x_0
}


def aug_weight(sigma: Tensor, strength: float = 30.0) -> Tensor:
    """Weight (b,) of an image whose low-res picture carries noise of `sigma` (b,), so that fine errors count too."""
    return 1 / (1 + strength * sigma.square())


def diffusion_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    x_0: Tensor,
    *,
    schedule: Schedule,
    prediction_type: str,
    times: Tensor,
    noise: Tensor,
    max_weight: float = 5.0,
    weighting: str = "capped_v",
    image_weight: Tensor | None = None,
) -> Tensor:
    """Mean weighted squared error of x_0 (scalar): network(x_t, time) on x_0 (b c h w) noised to `times` (b,).

    weighting: one of WEIGHTINGS, max_weight its cap. image_weight: (b,), one when None. What a network puts out beyond
    the picture's channels, a learned variance, is left as it is.
    """
    alpha, sigma = (per_image(part, x_0) for part in schedule.alpha_sigma(times))  # b 1 1 1
    error = believed(network, diffuse(x_0, noise, alpha, sigma), times, schedule, prediction_type) - x_0
    weight = WEIGHTINGS[weighting](alpha, sigma, max_weight)
    if image_weight is not None:
        weight = weight * per_image(image_weight, x_0)
    return (weight * error.square()).mean()


def believed(
    network: Callable[[Tensor, Tensor], Tensor], x_t: Tensor, times: Tensor, schedule: Schedule, prediction_type: str
) -> Tensor:
    """x_0 (b c h w), float32, as network(x_t, time) has it of x_t (b c h w) at `times` (b,)."""
    alpha, sigma = (per_image(part, x_t) for part in schedule.alpha_sigma(times))  # b 1 1 1
    scale = schedule.input_scale(times)
    output = network(x_t if scale is None else x_t * per_image(scale, x_t), schedule.network_time(times)).float()
    return prediction_of(prediction_type).to_x_0(output[:, : x_t.shape[1]], x_t, alpha, sigma)


@torch.no_grad()
def estimate(
    network: Callable[[Tensor, Tensor], Tensor],
    x_0: Tensor,
    *,
    schedule: Schedule,
    prediction_type: str,
    times: Tensor,
    noise: Tensor,
) -> Tensor:
    """x_0 (b c h w) as a first pass has it, for the second pass of self-conditioning; no gradient goes through it.

    Arguments as of `diffusion_loss`. Source: Bit Diffusion, arXiv 2208.04202, Algorithm 1.
    """
    alpha, sigma = (per_image(part, x_0) for part in schedule.alpha_sigma(times))  # b 1 1 1
    found = believed(network, diffuse(x_0, noise, alpha, sigma), times, schedule, prediction_type)
    # Before torch 2.10 the second pass would take weights that this one has cast, without a gradient (its issue 112583).
    torch.clear_autocast_cache()
    return found
