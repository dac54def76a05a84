"""What is a noise schedule? A map from time t in [0, 1], clean to pure noise, to the logsnr of x_t.

`x_t = alpha x_0 + sigma eps`, `alpha^2 + sigma^2 = 1`, `logsnr = log(alpha^2 / sigma^2)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


def _float64(values: Tensor) -> Tensor:
    """Schedules work in float64; Apple's GPUs have none, so theirs are worked out on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


class Schedule(ABC):
    """A variance-preserving noise schedule; all is worked out in float64 and cast back to what was asked with.

    Times and logsnrs may have any shape. Give float64 times for float64 results: samplers do, training need not.
    """

    name: ClassVar[str]
    # Whether t = 0 is the clean picture itself. A discrete schedule's first timestep is noisy and worth a call.
    zero_is_clean: ClassVar[bool] = True

    @abstractmethod
    def _logsnr(self, t: Tensor) -> Tensor:
        """float64 logsnr of float64 times in [0, 1]: strictly decreasing and finite."""

    @abstractmethod
    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        """The inverse of `_logsnr`; logsnrs beyond its range map to 0 or 1."""

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2) at times `t` in [0, 1]: finite and strictly decreasing."""
        return self._logsnr(_float64(t).clamp(0.0, 1.0)).to(t)

    def logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        """The time in [0, 1] at which the schedule has this logsnr; beyond its range the nearer end."""
        return self._logsnr_to_t(_float64(logsnr)).clamp(0.0, 1.0).to(logsnr)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at times `t` in [0, 1], each in the shape, dtype and device of `t`."""
        logsnr = self._logsnr(_float64(t).clamp(0.0, 1.0))
        return logsnr.sigmoid().sqrt().to(t), (-logsnr).sigmoid().sqrt().to(t)

    def network_time(self, t: Tensor) -> Tensor:
        """What a network's time embedding is fed: 1000 t, the range of timesteps that sinusoids were chosen for."""
        return 1000.0 * t

    def input_scale(self, t: Tensor) -> Tensor | None:
        """What x_t is multiplied by on its way into the network, in the shape of `t`; None where it enters as it is."""
        return None

    def trained(self, t: Tensor) -> Tensor:
        """Times drawn for training, each moved to the nearest that the network knows; here all are known."""
        return t

    def snap(self, t: Tensor) -> Tensor:
        """Move strictly decreasing times to the nearest ones that a network was trained on; here all are."""
        return t


def check_logsnr_range(logsnr_min: float, logsnr_max: float) -> None:
    """Raise ValueError unless the range is a range."""
    if not logsnr_min < logsnr_max:
        raise ValueError(f"logsnr_min {logsnr_min} must lie below logsnr_max {logsnr_max}: -20 and 20 are usual")


def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear y(x) through the points (xs, ys), xs increasing, both (n,); x of any shape, held at the ends."""
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x_0, x_1, y_0, y_1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return torch.lerp(y_0, y_1, ((x - x_0) / (x_1 - x_0)).clamp(0.0, 1.0))
