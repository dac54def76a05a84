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

BETAS = ("linear", "squaredcos_cap_v2")


@dataclass(frozen=True, kw_only=True)
class DiscreteSchedule(Schedule):
    """t = timestep / (num_timesteps - 1). At a timestep the table's own value, between two the logsnr is linear.

    betas: "squaredcos_cap_v2" (Improved DDPM's cosine, betas capped at 0.999) or "linear" (1e-4 ... 0.02).
    num_timesteps: how many timesteps the network was trained on, nearly always 1000.
    """

    name: ClassVar[str] = "discrete"
    zero_is_clean: ClassVar[bool] = False
    betas: str = "squaredcos_cap_v2"
    num_timesteps: int = 1000

    def __post_init__(self) -> None:
        if self.betas not in BETAS:
            raise ValueError(f"unknown betas {self.betas!r}: expected one of {', '.join(BETAS)}")
        if self.num_timesteps < 2:
            raise ValueError(f"num_timesteps is {self.num_timesteps}: expected at least 2, usually 1000")

    @property
    def beta_table(self) -> Tensor:
        """beta of each timestep: (num_timesteps,) float64."""
        return _tables(self.betas, self.num_timesteps)[0]

    @property
    def alpha_bar_table(self) -> Tensor:
        """alpha^2 of each timestep, the running product of 1 - beta: (num_timesteps,) float64."""
        return _tables(self.betas, self.num_timesteps)[1]

    @property
    def posterior_variance_table(self) -> Tensor:
        """Variance of q(x_{k-1} | x_k, x_0), DDPM Eq. 7: (num_timesteps,) float64; 0 at timestep 0."""
        alpha_bar = self.alpha_bar_table
        previous = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        return self.beta_table * (1.0 - previous) / (1.0 - alpha_bar)

    def _logsnr(self, t: Tensor) -> Tensor:
        logsnr = _tables(self.betas, self.num_timesteps)[2].to(t.device)
        return interpolate(t * (self.num_timesteps - 1), _timesteps(logsnr), logsnr)

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        table = _tables(self.betas, self.num_timesteps)[2].to(logsnr.device)
        return interpolate(logsnr, table.flip(0), _timesteps(table).flip(0)) / (self.num_timesteps - 1)

    def network_time(self, t: Tensor) -> Tensor:
        """The timestep, t (num_timesteps - 1), as a float."""
        return t * (self.num_timesteps - 1)

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


@lru_cache(maxsize=8)
def _tables(betas: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(beta, alpha_bar, logsnr), each (count,) float64."""
    if betas == "linear":
        beta = torch.linspace(1e-4, 0.02, count, dtype=torch.float64)
    else:
        edges = torch.arange(count + 1, dtype=torch.float64) / count
        f = torch.cos((edges + 0.008) / 1.008 * pi / 2.0) ** 2
        beta = (1.0 - f[1:] / f[:-1]).clamp(max=0.999)
    alpha_bar = torch.cumprod(1.0 - beta, 0)
    return beta, alpha_bar, torch.log(alpha_bar) - torch.log1p(-alpha_bar)
