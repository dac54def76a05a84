"""What are the schedules of networks trained on integer timesteps? DDPM's and Improved DDPM's tables, kept exact.

DDPM (arXiv 2006.11239, section 4) and Improved DDPM (arXiv 2102.09672, Eq. 17); DeepFloyd IF uses the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Schedule, interpolate

BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
MOST_TIMESTEPS = 100_000
LEAST_ALPHA_BAR = (
    1e-16  # what stands for zero at the last timestep: alpha is 1e-8, lost in float32, and the logsnr finite
)


@dataclass(frozen=True, kw_only=True)
class DiscreteSchedule(Schedule):
    """t = timestep / (num_timesteps - 1). At a timestep the table's own value, between two the logsnr is linear.

    betas: "squaredcos_cap_v2" (Improved DDPM's cosine, betas capped at 0.999), "linear" from beta_start to beta_end,
    "scaled_linear" (their square roots are), "sigmoid" (GeoDiff's), or the betas themselves, one a timestep.
    num_timesteps: how many timesteps the network was trained on, nearly always 1000. zero_snr: whether the betas are
    rescaled so that the last timestep is pure noise (arXiv 2305.08891, Algorithm 1). steps_offset: what the spacing
    "leading" adds to each timestep.
    """

    name: ClassVar[str] = "discrete"
    zero_is_clean: ClassVar[bool] = False
    betas: str | tuple[float, ...] = "squaredcos_cap_v2"
    num_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    zero_snr: bool = False
    steps_offset: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.betas, str):
            object.__setattr__(self, "betas", tuple(self.betas))  # JSON knows lists only
        elif self.betas not in BETAS:
            raise ValueError(f"unknown betas {self.betas!r}: expected one of {', '.join(BETAS)}, or a list of numbers")
        if type(self.num_timesteps) is not int or not 2 <= self.num_timesteps <= MOST_TIMESTEPS:
            raise ValueError(f"num_timesteps is {self.num_timesteps!r}: expected 2 to {MOST_TIMESTEPS}, usually 1000")
        if type(self.steps_offset) is not int or not 0 <= self.steps_offset < self.num_timesteps:
            raise ValueError(f"steps_offset is {self.steps_offset!r}: expected a timestep, usually 0 or 1")
        if type(self.zero_snr) is not bool:
            raise ValueError(f"zero_snr is {self.zero_snr!r}: expected true or false")
        self._check_betas()

    def _check_betas(self) -> None:
        for name in ("beta_start", "beta_end"):
            if not _is_beta(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected a number between 0 and 1")
        if isinstance(self.betas, tuple) and not (
            len(self.betas) == self.num_timesteps and all(_is_beta(beta) for beta in self.betas)
        ):
            raise ValueError(f"betas is no list of {self.num_timesteps} numbers between 0 and 1")

    @property
    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return _tables(self.betas, self.num_timesteps, self.beta_start, self.beta_end, self.zero_snr)

    @property
    def beta_table(self) -> Tensor:
        """beta of each timestep: (num_timesteps,) float64."""
        return self._tables[0]

    @property
    def alpha_bar_table(self) -> Tensor:
        """alpha^2 of each timestep, the running product of 1 - beta: (num_timesteps,) float64."""
        return self._tables[1]

    @property
    def posterior_variance_table(self) -> Tensor:
        """Variance of q(x_{k-1} | x_k, x_0), DDPM Eq. 7: (num_timesteps,) float64; 0 at timestep 0."""
        alpha_bar = self.alpha_bar_table
        previous = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        return self.beta_table * (1.0 - previous) / (1.0 - alpha_bar)

    def _logsnr(self, t: Tensor) -> Tensor:
        logsnr = self._tables[2].to(t.device)
        return interpolate(t * (self.num_timesteps - 1), _timesteps(logsnr), logsnr)

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        table = self._tables[2].to(logsnr.device)
        return interpolate(logsnr, table.flip(0), _timesteps(table).flip(0)) / (self.num_timesteps - 1)

    def network_time(self, t: Tensor) -> Tensor:
        """The timestep, t (num_timesteps - 1), as a float."""
        return t * (self.num_timesteps - 1)

    def trained(self, t: Tensor) -> Tensor:
        """Each time at the nearest integer timestep."""
        last = self.num_timesteps - 1
        return (t * last).round() / last

    def snap(self, t: Tensor) -> Tensor:
        """Strictly decreasing times (n,) to the nearest integer timesteps that are all different."""
        last = self.num_timesteps - 1
        if len(t) > self.num_timesteps:
            raise ValueError(f"{len(t)} calls, and the network knows {self.num_timesteps} timesteps: ask for fewer")
        timesteps = [round(value * last) for value in t.tolist()]
        for i in range(len(timesteps) - 2, -1, -1):
            timesteps[i] = max(timesteps[i], timesteps[i + 1] + 1)
        timesteps[0] = min(timesteps[0], last)
        for i in range(1, len(timesteps)):
            timesteps[i] = min(timesteps[i], timesteps[i - 1] - 1)
        return torch.tensor(timesteps, dtype=t.dtype, device=t.device) / last


def _timesteps(like: Tensor) -> Tensor:
    return torch.arange(len(like), dtype=like.dtype, device=like.device)


def _is_beta(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < 1.0


@lru_cache(maxsize=8)
def _tables(
    betas: str | tuple[float, ...], count: int, start: float, end: float, zero_snr: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(beta, alpha_bar, logsnr), each (count,) float64."""
    beta = _betas(betas, count, start, end)
    alpha_bar = torch.cumprod(1.0 - beta, 0)
    if zero_snr:
        alpha_bar = _shifted_to_zero(alpha_bar)
        beta = 1.0 - alpha_bar / torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return beta, alpha_bar, torch.log(alpha_bar) - torch.log1p(-alpha_bar)


def _betas(betas: str | tuple[float, ...], count: int, start: float, end: float) -> Tensor:
    if isinstance(betas, tuple):
        return torch.tensor(betas, dtype=torch.float64)
    if betas == "linear":
        return torch.linspace(start, end, count, dtype=torch.float64)
    if betas == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
    if betas == "sigmoid":
        return torch.linspace(-6, 6, count, dtype=torch.float64).sigmoid() * (end - start) + start
    edges = torch.arange(count + 1, dtype=torch.float64) / count
    f = torch.cos((edges + 0.008) / 1.008 * pi / 2.0) ** 2
    return (1.0 - f[1:] / f[:-1]).clamp(max=0.999)


def _shifted_to_zero(alpha_bar: Tensor) -> Tensor:
    """alpha moved and stretched so that the first stays and the last is zero: arXiv 2305.08891, Algorithm 1."""
    alpha = alpha_bar.sqrt()
    moved = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    return (moved**2).clamp(min=LEAST_ALPHA_BAR)
