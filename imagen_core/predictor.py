"""How does a network's output become x_0? A network with its schedule and what it was trained to put out.

Shapes: b images, c channels, h w pixels; latents, embeddings and frames have other axes behind the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .conditioning import Signals
from .parameterization import Scale, per_image
from .predictions import prediction_of
from .schedules import Schedule

Network = Callable[[Tensor, Tensor, Signals], Tensor]


@dataclass(frozen=True)
class Point:
    """Where a call of the network stands: x_t = alpha x_0 + sigma eps."""

    x_t: Tensor  # (b c h w)
    t: Tensor  # in [0, 1]: a scalar, best on the CPU, or (b,) one an image
    alpha: Scale  # broadcasts against x_t
    sigma: Scale

    @staticmethod
    def on(schedule: Schedule, x_t: Tensor, t: Tensor) -> Point:
        return Point(x_t, t, *(_broadcast(values, x_t) for values in schedule.alpha_sigma(t)))

    def on_other(self, schedule: Schedule, other: Schedule) -> Point:
        """The same x_t at the time at which another schedule is as noisy, or the nearest that it has."""
        return self if other == schedule else replace(self, t=other.logsnr_to_t(schedule.logsnr(self.t)))


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A network and how its output is read: predictor(at, told, copies)."""

    network: Network  # called as network(x_t, time (b,), told) -> (b, c or 2c, h, w)
    schedule: Schedule  # that the network was trained on
    prediction_type: str  # what it puts out, a key of PREDICTIONS
    learned_variance: bool = False  # whether it puts out 2c channels, the second half Improved DDPM's v
    self_conditioned: bool = False  # whether told.pixels is the x_0 that it believed in at the call before

    def __post_init__(self) -> None:
        prediction_of(self.prediction_type)

    def __call__(self, at: Point, told: Signals, copies: int = 1) -> tuple[list[Tensor], Tensor | None]:
        """x_0 (b c h w) of x_t under each of the `copies` conditions that `told` holds, in one pass of the network.

        With it, of a learned variance, where between posterior variance (0) and beta (1) the step's log-variance lies
        under the first: (v + 1) / 2 of Improved DDPM, Eq. 15. Raises ValueError for an output of other channels.
        """
        output = self._output(at, told, copies)
        channels = at.x_t.shape[1]
        prediction = prediction_of(self.prediction_type)
        x_0 = [prediction.to_x_0(part[:, :channels], at.x_t, at.alpha, at.sigma) for part in output.chunk(copies)]
        variance = output.chunk(copies)[0][:, channels:]
        return x_0, 0.5 * (variance + 1.0) if self.learned_variance else None

    def _output(self, at: Point, told: Signals, copies: int) -> Tensor:
        x_t = at.x_t
        time = self.schedule.network_time(at.t).to(x_t).expand(x_t.shape[0])
        scale = self.schedule.input_scale(at.t)
        given = x_t if scale is None else x_t * _broadcast(scale, x_t)
        given = given.to(_dtype(self.network, x_t)).repeat(copies, *[1] * (x_t.ndim - 1))
        output = self.network(given, time.repeat(copies), told).to(x_t.dtype)
        self._check(output, x_t)
        return output

    def _check(self, output: Tensor, x_t: Tensor) -> None:
        """A network's variance channels, silently dropped or taken for a picture, are the classic error."""
        wanted = x_t.shape[1] * (2 if self.learned_variance else 1)
        if output.shape[1] != wanted:
            raise ValueError(
                f"the network put out {output.shape[1]} channels, and {wanted} were expected with"
                f" learned_variance={self.learned_variance}: set learned_variance as the network was trained"
            )


def _broadcast(values: Tensor, like: Tensor) -> Tensor:
    """alpha or sigma of a scalar t in the pictures' dtype (left on the CPU: no copy), of t (b,) as (b 1 1 1)."""
    return values.to(like.dtype) if values.ndim == 0 else per_image(values, like)


def _dtype(network: Network, x_t: Tensor) -> torch.dtype:
    """What a network computes in: the dtype of its first floating-point parameter, or the pictures'."""
    parameters = network.parameters() if isinstance(network, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), x_t.dtype)
