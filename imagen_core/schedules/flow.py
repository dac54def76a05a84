"""What is the schedule of flow models? A straight line from picture to noise: Rectified Flow (arXiv 2209.03003).

Their z = (1 - s) x_0 + s eps, in time s, is our x_t scaled: `input_scale` says by how much, so that a flow model runs
under every sampler, and Euler's step along s is DDIM's. Larger noise for larger pictures: JiT (arXiv 2511.13720).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Schedule, _float64, check_logsnr_range


@dataclass(frozen=True, kw_only=True)
class FlowSchedule(Schedule):
    """z = (1 - s) x_0 + s noise_scale eps; s is t, squeezed a little so that both ends have a finite logsnr.

    noise_scale: deviation of the noise that the network was trained on; 1 but for JiT, which grows it with the side.
    time_scale: what s is multiplied by for the network, 1000 or 1.
    towards_clean: whether the network counts time from noise to picture, 1 - s, as JiT does.
    logsnr_min, logsnr_max: logsnr at t = 1 and at t = 0.
    """

    name: ClassVar[str] = "flow"
    noise_scale: float = 1.0
    time_scale: float = 1000.0
    towards_clean: bool = False
    logsnr_min: float = -20.0
    logsnr_max: float = 20.0

    def __post_init__(self) -> None:
        check_logsnr_range(self.logsnr_min, self.logsnr_max)
        if self.noise_scale <= 0.0 or self.time_scale <= 0.0:
            raise ValueError(f"noise_scale {self.noise_scale} and time_scale {self.time_scale} must be above 0")

    def _ends(self) -> tuple[float, float]:
        """s at t = 0 and at t = 1: almost 0 and almost 1."""
        first, last = (
            1.0 / (1.0 + self.noise_scale * math.exp(0.5 * logsnr)) for logsnr in (self.logsnr_max, self.logsnr_min)
        )
        return first, last

    def flow_time(self, t: Tensor) -> Tensor:
        """The flow's own time s, float64, at times `t` in [0, 1]."""
        first, last = self._ends()
        return first + _float64(t).clamp(0.0, 1.0) * (last - first)

    def _logsnr(self, t: Tensor) -> Tensor:
        s = self.flow_time(t)
        return 2.0 * (torch.log((1.0 - s) / s) - math.log(self.noise_scale))

    def _logsnr_to_t(self, logsnr: Tensor) -> Tensor:
        first, last = self._ends()
        return ((-0.5 * logsnr - math.log(self.noise_scale)).sigmoid() - first) / (last - first)

    def network_time(self, t: Tensor) -> Tensor:
        """time_scale s, or time_scale (1 - s)."""
        s = self.flow_time(t)
        return (self.time_scale * (1.0 - s if self.towards_clean else s)).to(t)

    def input_scale(self, t: Tensor) -> Tensor:
        """z / x_t, the length of ((1 - s), s noise_scale)."""
        s = self.flow_time(t)
        return (1.0 - s).hypot(self.noise_scale * s).to(t)
