"""What is a sampler? A loop from pure noise to a picture that sees only `denoise(x_t, t)`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from ..denoiser import Prediction
from ..schedules import Schedule
from .spacing import time_grid

Callback = Callable[[int, int, Prediction], None]
Noise = Callable[[], Tensor]


class Denoise(Protocol):
    """All that a sampler knows of the model: a schedule, and a prediction at (x_t, t)."""

    schedule: Schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction: ...


class Level(NamedTuple):
    """One time of a grid: x_t = alpha x_0 + sigma eps, and lam = log(alpha / sigma), half the logsnr."""

    t: Tensor  # scalar float64 on the CPU
    alpha: float
    sigma: float
    lam: float


class Sampler(ABC):
    """A frozen dataclass of settings with one method that runs the loop."""

    name: ClassVar[str]
    default_spacing: ClassVar[str]
    # Half of it is the lambda at which DPM-Solver clips a cosine schedule (DeepFloyd IF's configuration says -5.1): from
    # earlier times a solver carries an x_0 that is the network's error many times over. DDPM forgets it, and starts at 1.
    noisiest_logsnr: ClassVar[float] = -10.2
    jumps: ClassVar[bool] = False  # whether it asks for a network whose x_0 is where a path ends, see `PredictionType`
    solves: ClassVar[bool] = True  # whether more calls draw nearer to the data of a network that predicts the mean

    @abstractmethod
    def advance(self, denoise: Denoise, x_t: Tensor, grid: list[Level], noise: Noise) -> Tensor:
        """From x_t (b c h w) at grid[0] to x_s at grid[-1], still noisy. noise: fresh unit Gaussian noise like x_t."""

    def sample(
        self,
        denoise: Denoise,
        x_T: Tensor,
        times: Tensor,
        *,
        noise: Noise,
        callback: Callback | None = None,
    ) -> Tensor:
        """Turn x_T (b c h w), unit Gaussian noise, into the x_0 that the last call of `denoise` predicts.

        times: (n,) strictly decreasing, from `time_grid` or `Sampler.times`. noise: fresh unit Gaussian noise like x_T.
        callback(call, total, prediction) runs after each call of `denoise`, counting from 1; what it raises ends the
        run. Raises ValueError for times that do not decrease.
        """
        grid = levels(denoise.schedule, times)
        denoise = Reported(denoise, callback, self.calls(times))
        return denoise(self.advance(denoise, x_T, grid, noise), grid[-1].t).x_0

    def times(self, schedule: Schedule, calls: int, spacing: str | None = None) -> Tensor:
        """The grid on which this sampler calls the network `calls` times (Heun: `calls` or one fewer).

        spacing: see `time_grid`; the sampler's own when None.
        """
        spacing = spacing or self.default_spacing
        return time_grid(schedule, calls, spacing, noisiest_logsnr=self.noisiest_logsnr)

    def calls(self, times: Tensor) -> int:
        """How often the network is called on a grid."""
        return len(times)


def levels(schedule: Schedule, times: Tensor) -> list[Level]:
    """The grid with everything that a loop needs, worked out once in float64."""
    times = times.detach().cpu().double()
    if times.ndim != 1 or len(times) == 0 or (times.diff() >= 0).any():
        raise ValueError(f"times {tuple(times.shape)} must be a row that strictly decreases: make them with time_grid")
    alphas, sigmas = (values.tolist() for values in schedule.alpha_sigma(times))
    return [
        Level(t, alpha, sigma, math.log(alpha) - math.log(sigma))
        for t, alpha, sigma in zip(times, alphas, sigmas, strict=True)
    ]


class Reported:
    """`denoise` that tells a callback of each of its calls: callback(call, total, prediction), counting from 1."""

    def __init__(self, denoise: Denoise, callback: Callback | None, total: int) -> None:
        self.schedule, self._denoise = denoise.schedule, denoise
        self._callback, self._total, self._call = callback, total, 0

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        prediction = self._denoise(x_t, t)
        self._call += 1
        if self._callback is not None:
            self._callback(self._call, self._total, prediction)
        return prediction
