"""At which times is a network best trained? Where its loss is large: Improved DDPM (arXiv 2102.09672, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImportanceTimes(nn.Module):
    """Times drawn by how large their loss has lately been: p ~ sqrt(E[L^2]), Improved DDPM, Eq. 18 (section 3.3).

    [0, 1] is cut into `bins`, of each of which the last `keep` losses are remembered; until all are full, and in a
    thousandth of draws after, times are uniform. Its memory are buffers: saved with a run, and of one process.
    """

    UNIFORM = 0.001

    def __init__(self, bins: int = 100, keep: int = 10) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(bins, keep, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(bins, dtype=torch.long))

    def probabilities(self) -> Tensor:
        """Of each bin, (bins,) float64; even while one of them has too few losses, or all are zero."""
        even = torch.full_like(self.losses[:, 0], 1.0 / len(self.losses))
        typical = self.losses.square().mean(1).sqrt()
        if (self.seen < self.losses.shape[1]).any() or typical.sum() == 0:
            return even
        return torch.lerp(typical / typical.sum(), even, self.UNIFORM)

    def draw(self, count: int, generator: torch.Generator, *, t_min: float = 1e-3) -> tuple[Tensor, Tensor]:
        """(times (b,) in [t_min, 1], weights (b,)): losses times weights have the mean that uniform times' have."""
        p = self.probabilities().cpu()
        chosen = torch.multinomial(p, count, replacement=True, generator=generator)
        times = (chosen + torch.rand(count, generator=generator)) / len(p)
        return t_min + (1 - t_min) * times, (1.0 / (p[chosen] * len(p))).float()

    def update(self, times: Tensor, losses: Tensor, *, t_min: float = 1e-3) -> None:
        """Remember the losses (b,) that images had at `times` (b,), before any weight."""
        bins = ((times.cpu().double() - t_min) / (1 - t_min) * len(self.losses)).long().clamp(0, len(self.losses) - 1)
        for index, loss in zip(bins.tolist(), losses.detach().double().tolist(), strict=True):
            self.losses[index, self.seen[index] % self.losses.shape[1]] = loss
            self.seen[index] += 1
