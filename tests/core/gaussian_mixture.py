"""What does an ideal network predict? For a Gaussian mixture E[x_0 | x_t] has a closed form: the samplers' oracle.

Shapes: b images, n modes, d = c * h * w values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imagen_core.denoiser import Prediction
from imagen_core.guidance import Guidance
from imagen_core.predictor import Point
from imagen_core.schedules import Schedule
from imagen_core.thresholding import Thresholding


class GaussianMixture:
    """Modes of equal deviation: `means` (n c h w), `std`, `weights` (n,); float64."""

    def __init__(self, means: Tensor, std: float, weights: Tensor | None = None) -> None:
        self.means, self.std = means, std
        self.weights = torch.full((len(means),), 1.0 / len(means)).double() if weights is None else weights

    def responsibilities(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """p(mode | x_t): (b n)."""
        variance = (alpha * self.std) ** 2 + sigma**2
        distances = torch.cdist(x_t.flatten(1), alpha * self.means.flatten(1)) ** 2
        return (self.weights.log() - 0.5 * distances / variance).softmax(1)

    def expected_x_0(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x_0 | x_t]: every mode's posterior mean, weighted by its responsibility."""
        variance = (alpha * self.std) ** 2 + sigma**2
        mode = torch.einsum("bn,nchw->bchw", self.responsibilities(x_t, alpha, sigma), self.means)
        return mode + alpha * self.std**2 / variance * (x_t - alpha * mode)

    def mean(self) -> Tensor:
        return torch.einsum("n,nd->d", self.weights, self.means.flatten(1))

    def covariance(self) -> Tensor:
        centred = self.means.flatten(1) - self.mean()
        return torch.einsum("n,nd,ne->de", self.weights, centred, centred) + self.std**2 * torch.eye(centred.shape[1])

    def shares(self, x_0: Tensor) -> Tensor:
        """The share of samples nearest to each mode: (n,)."""
        nearest = torch.cdist(x_0.flatten(1), self.means.flatten(1)).argmin(1)
        return torch.bincount(nearest, minlength=len(self.means)) / len(x_0)


class MixtureDenoiser:
    """`denoise` for samplers, exact; counts its calls. Optionally guided from `mixture` away from `null`."""

    def __init__(
        self,
        schedule: Schedule,
        mixture: GaussianMixture,
        *,
        null: GaussianMixture | None = None,
        guidance: Guidance | None = None,
        thresholding: Thresholding | None = None,
        variance_frac: float | None = None,
    ) -> None:
        self.schedule, self.mixture, self.null = schedule, mixture, null
        self.guidance, self.thresholding, self.variance_frac = guidance, thresholding, variance_frac
        self.calls = 0

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        self.calls += 1
        alpha, sigma = (value.item() for value in self.schedule.alpha_sigma(t))
        x_0 = self.mixture.expected_x_0(x_t, alpha, sigma)
        if self.null is not None and self.guidance is not None:
            branches = {"cond": x_0, "null": self.null.expected_x_0(x_t, alpha, sigma)}
            x_0 = self.guidance.combine(branches, Point(x_t, t, alpha, sigma))
        if self.thresholding is not None:
            x_0 = self.thresholding(x_0)
        frac = None if self.variance_frac is None else torch.full_like(x_t, self.variance_frac)
        return Prediction(x_0=x_0, eps=(x_t - alpha * x_0) / sigma, variance_frac=frac)
