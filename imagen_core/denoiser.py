"""What does a sampler see? A network, its conditions, guidance and thresholding joined into `denoise(x_t, t)`.

Shapes: b images, c channels, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .conditioning import Conditioning
from .guidance import Guidance
from .parameterization import per_image, x_0_to_eps
from .predictions import prediction_of
from .schedules import Schedule
from .thresholding import Thresholding

Network = Callable[[Tensor, Tensor, Conditioning], Tensor]


@dataclass(frozen=True)
class Prediction:
    """What is believed of x_t: `x_0`, and the `eps` that goes with it; in x_t's dtype, b c h w.

    variance_frac: of a network with learned variance, where between posterior variance (0) and beta (1) the step's
    log-variance lies: (v + 1) / 2 of Improved DDPM, Eq. 15. None of other networks.
    """

    x_0: Tensor
    eps: Tensor
    variance_frac: Tensor | None = None


class Denoiser:
    """One sampling run's `denoise(x_t, t) -> Prediction`; make a new one for each run.

    network: called as network(x_t, time (b,), conditioning) -> (b, c or 2c, h, w).
    prediction_type: what the network puts out, a key of PREDICTIONS: "eps", "v", "x_0" or "flow".
    cond, null: the conditions of the batch, with and without the prompt. Where guidance is active both run as one
        batch; without a null there is nothing to guide away from, and guidance is off.
    learned_variance: the network puts out 2c channels, the second half Improved DDPM's v.
    """

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        *,
        prediction_type: str,
        cond: Conditioning,
        null: Conditioning | None = None,
        guidance: Guidance,
        thresholding: Thresholding,
        learned_variance: bool = False,
    ) -> None:
        self.schedule = schedule
        self._network = network
        self._prediction = prediction_of(prediction_type)
        self._cond = cond
        self._null = null
        self._guidance = guidance
        self._memory = guidance.start_run()
        self._thresholding = thresholding
        self._learned_variance = learned_variance
        self._dtype = _parameter_dtype(network)

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        """Predict from x_t (b c h w), float32 or finer, at time `t`: a scalar, best on the CPU, or (b,) one an image."""
        guided = [self._null is not None and self._guidance.active(time) for time in t.reshape(-1).tolist()]
        alpha, sigma = (_scale(values, x_t) for values in self.schedule.alpha_sigma(t))
        cond, null = self._outputs(x_t, t, both=any(guided))
        channels = x_t.shape[1]
        x_0 = self._prediction.to_x_0(cond[:, :channels], x_t, alpha, sigma)
        if null is not None:
            null_x_0 = self._prediction.to_x_0(null[:, :channels], x_t, alpha, sigma)
            x_0 = self._guide(x_0, null_x_0, guided)
        x_0 = self._thresholding(x_0)
        # With the prompt, as published: guidance extrapolates means, and has no meaning for variances.
        variance_frac = 0.5 * (cond[:, channels:] + 1.0) if self._learned_variance else None
        return Prediction(x_0=x_0, eps=x_0_to_eps(x_0, x_t, alpha, sigma), variance_frac=variance_frac)

    @cached_property
    def _cond_and_null(self) -> Conditioning:
        """Both conditions as one batch, joined once, and only if guidance is ever active."""
        return self._cond.cat(self._null)

    def _outputs(self, x_t: Tensor, t: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The network's output, in x_t's dtype, under the prompt and, with `both`, under the null prompt: one pass."""
        copies = 2 if both else 1
        time = self.schedule.network_time(t).to(x_t).expand(x_t.shape[0])
        output = self._network(
            self._network_input(x_t, t).to(self._dtype).repeat(copies, *[1] * (x_t.ndim - 1)),
            time.repeat(copies),
            self._cond_and_null if both else self._cond,
        ).to(x_t.dtype)
        self._check_output(output, x_t)
        return tuple(output.chunk(2)) if both else (output, None)

    def _network_input(self, x_t: Tensor, t: Tensor) -> Tensor:
        scale = self.schedule.input_scale(t)
        return x_t if scale is None else x_t * _scale(scale, x_t)

    def _check_output(self, output: Tensor, x_t: Tensor) -> None:
        """A network's variance channels, silently dropped or taken for a picture, are the classic error."""
        wanted = x_t.shape[1] * (2 if self._learned_variance else 1)
        if output.shape[1] != wanted:
            raise ValueError(
                f"the network put out {output.shape[1]} channels, and {wanted} were expected with"
                f" learned_variance={self._learned_variance}: set learned_variance as the network was trained"
            )

    def _guide(self, cond: Tensor, null: Tensor, guided: list[bool]) -> Tensor:
        """Guided x_0 where guidance is active, the conditional one where it is not."""
        x_0 = self._guidance.combine(cond, null, memory=self._memory)
        if all(guided):
            return x_0
        return x_0.where(per_image(torch.tensor(guided, device=x_0.device), x_0) > 0, cond)


def _scale(values: Tensor, like: Tensor) -> Tensor:
    """alpha or sigma of a scalar t in the pictures' dtype (left on the CPU: no copy), of t (b,) as (b 1 1 1)."""
    return values.to(like.dtype) if values.ndim == 0 else per_image(values, like)


def _parameter_dtype(network: Network) -> torch.dtype:
    """The dtype that a network computes in: that of its first floating-point parameter, or float32."""
    parameters = network.parameters() if isinstance(network, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
