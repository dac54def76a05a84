"""What is minimised? The squared error of x_0, weighted by noise level (Imagen, Eq. 2; min-SNR: arXiv 2303.09556).

With a learned variance L_hybrid: Improved DDPM (arXiv 2102.09672, section 3.1).

Shapes: b images, c h w a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .parameterization import diffuse, per_image
from .predictions import prediction_of
from .schedules import Schedule
from .schedules.discrete import DiscreteSchedule


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
    seen = _seen(network, x_0, schedule, prediction_type, times, noise)
    return _weighted(seen, weighting, max_weight, image_weight).mean()


def image_losses(
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
    hybrid: float = 0.0,
) -> Tensor:
    """The same of each image by itself, (b,), and `hybrid` times `variance_loss` beside it.

    hybrid: 0 leaves a learned variance alone; 1 is lambda = 0.001 of Improved DDPM's L_hybrid (section 3.1) at its 1000
    steps. Only the variance learns from that part: the prediction in it passes no gradient on.
    """
    seen = _seen(network, x_0, schedule, prediction_type, times, noise)
    losses = _weighted(seen, weighting, max_weight, image_weight).flatten(1).mean(1)
    if hybrid == 0.0:
        return losses
    v = seen.output[:, x_0.shape[1] :]
    if v.shape != x_0.shape:
        raise ValueError(f"a hybrid loss asks for a learned variance, {x_0.shape[1]} channels more than x_0 has")
    return losses + hybrid * variance_loss(v, seen.predicted.detach(), x_0, seen.x_t, times, schedule)


class _Seen(NamedTuple):
    """A call of the network in training."""

    x_0: Tensor  # (b c h w)
    x_t: Tensor  # (b c h w)
    alpha: Tensor  # (b 1 1 1)
    sigma: Tensor  # (b 1 1 1)
    output: Tensor  # (b c h w), or 2 c where a variance is learned
    predicted: Tensor  # (b c h w) x_0 of it


def _seen(
    network: Callable[[Tensor, Tensor], Tensor],
    x_0: Tensor,
    schedule: Schedule,
    prediction_type: str,
    times: Tensor,
    noise: Tensor,
) -> _Seen:
    alpha, sigma = (per_image(part, x_0) for part in schedule.alpha_sigma(times))  # b 1 1 1
    x_t = diffuse(x_0, noise, alpha, sigma)
    output = _output(network, x_t, times, schedule)
    predicted = prediction_of(prediction_type).to_x_0(output[:, : x_0.shape[1]], x_t, alpha, sigma)
    return _Seen(x_0, x_t, alpha, sigma, output, predicted)


def _output(network: Callable[[Tensor, Tensor], Tensor], x_t: Tensor, times: Tensor, schedule: Schedule) -> Tensor:
    scale = schedule.input_scale(times)
    return network(x_t if scale is None else x_t * per_image(scale, x_t), schedule.network_time(times)).float()


def _weighted(seen: _Seen, weighting: str, max_weight: float, image_weight: Tensor | None) -> Tensor:
    """The squared error of x_0 times its weight: (b c h w)."""
    weight = WEIGHTINGS[weighting](seen.alpha, seen.sigma, max_weight)
    if image_weight is not None:
        weight = weight * per_image(image_weight, seen.x_0)
    return weight * (seen.predicted - seen.x_0).square()


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
    found = _seen(network, x_0, schedule, prediction_type, times, noise).predicted
    # Before torch 2.10 the second pass would take weights that this one has cast, without a gradient (its issue 112583).
    torch.clear_autocast_cache()
    return found


def variance_loss(
    v: Tensor, predicted: Tensor, x_0: Tensor, x_t: Tensor, times: Tensor, schedule: Schedule, *, steps: int = 1000
) -> Tensor:
    """One term of the variational bound, L_{t-1}, in bits a dimension, (b,): Improved DDPM, Eq. 4 to 6 and 15.

    The divergence of the network's step from the true one, whose mean and variance are known where x_0 is. v: what the
    network put out for the variance, -1 the posterior's and 1 beta's; predicted: its x_0; x_0, x_t: the clean and the
    noisy picture; all (b c h w). times: (b,); a step is one of `steps`, or the discrete schedule's own. What is stepped to
    the clean picture itself is measured by how likely its 8-bit levels are.
    """
    step = _Step.at(schedule, times, x_0, steps)
    true, learned = step.mean(x_t, x_0), step.mean(x_t, predicted)
    log_variance = torch.lerp(step.log_posterior, step.log_beta, 0.5 * (v + 1.0))
    ratio = (step.log_posterior - log_variance).exp()
    divergence = 0.5 * (
        log_variance - step.log_posterior + ratio - 1.0 + (true - learned).square() / log_variance.exp()
    )
    bits = divergence.where(per_image(step.ends, x_0) == 0, -_level_log_probability(x_0, learned, log_variance))
    return bits.flatten(1).mean(1) / math.log(2.0)


class _Step(NamedTuple):
    """From x_t to the next less noisy time s, for each image; (b 1 1 1) but for `ends`."""

    of_x_t: Tensor  # the mean is of_x_t x_t + of_x_0 x_0 (DDPM, Eq. 7)
    of_x_0: Tensor
    log_posterior: (
        Tensor  # variance of q(x_s | x_t, x_0); of the last step the one before's, as published: its own is 0
    )
    log_beta: Tensor  # variance of q(x_t | x_s)
    ends: Tensor  # (b,) whether s is the clean picture

    @staticmethod
    def at(schedule: Schedule, times: Tensor, like: Tensor, steps: int) -> _Step:
        last = schedule.num_timesteps - 1 if isinstance(schedule, DiscreteSchedule) else steps
        t = times.double().cpu()
        ends = (t * last < 0.5) & (not schedule.zero_is_clean)
        t = t.clamp(min=1.0 / last)  # of the last step the variances are those of the one before
        s = t - 1.0 / last
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.alpha_sigma(t), schedule.alpha_sigma(s)
        newer = -torch.expm1(schedule.logsnr(t) - schedule.logsnr(s))  # of x_t's noise the share that s has not
        of_x_t, of_x_0 = (1.0 - newer) * alpha_s / alpha_t, newer * alpha_s
        parts = (
            of_x_t.where(~ends, 0.0),
            of_x_0.where(~ends, 1.0),
            (sigma_s**2 * newer).log(),
            (sigma_t**2 * newer).log().where(~ends, (1.0 - schedule.alpha_sigma(torch.zeros_like(t))[0] ** 2).log()),
        )
        return _Step(*(per_image(part, like) for part in parts), ends.to(like.device))

    def mean(self, x_t: Tensor, x_0: Tensor) -> Tensor:
        return self.of_x_t * x_t + self.of_x_0 * x_0


def _level_log_probability(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log of what a Gaussian gives each 8-bit level of x_0 in [-1, 1], the outermost with all beyond: DDPM, Eq. 13."""
    deviation, half = (0.5 * log_variance).exp(), 1.0 / 255.0
    above = torch.special.ndtr((x_0 + half - mean) / deviation).where(x_0 < 0.999, 1.0)
    below = torch.special.ndtr((x_0 - half - mean) / deviation).where(x_0 > -0.999, 0.0)
    return (above - below).clamp(min=1e-12).log()
