"""How is a noisy classifier loaded, and what does it say of a picture at any time of any schedule?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from ..activation_memory import gradient_bytes
from ..checkpoints.formats import find_checkpoints, load_any
from ..guidance._gradient import thawed
from ..predictor import Point
from ..schedules import Schedule, schedule_from_config
from .network import ClassifierConfig, NoisyClassifier

KIND = "classifier"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A loaded classifier, and the schedule by which the pictures were noised that it was trained on."""

    network: NoisyClassifier
    schedule: Schedule

    @property
    def num_classes(self) -> int:
        return self.network.config.num_classes

    def to(self, device: torch.device | str) -> Classifier:
        """Compute there, and stay: a classifier is small beside what it guides; returns self."""
        with torch.inference_mode(False):
            self.network.to(device)
        return self

    def gradient_bytes(self) -> int:
        """What taking the gradient of one picture holds at once, in bytes, besides the weights."""
        return _gradient_bytes(self.network.config)

    def log_probabilities(self, at: Point) -> Tensor:
        """log p(class | x_t), (b num_classes) float32, differentiable in at.x_t (b 3 h w).

        A stage's schedule may be another than the classifier's: it is asked at the time at which its own is as noisy,
        and shown a picture of the variance that it knows.
        """
        network = self.to(at.x_t.device).network
        size = (at.alpha**2 + at.sigma**2) ** 0.5  # 1 where the stage's schedule preserves variance too
        x_t = (at.x_t / size).to(next(network.parameters()).dtype)
        return network(x_t, self._timestep(at).to(x_t.device)).float().log_softmax(dim=1)

    def _timestep(self, at: Point) -> Tensor:
        """The integer timestep (b,) at which the classifier saw pictures as noisy as x_t."""
        alpha, sigma = (torch.as_tensor(value).detach().double().cpu().reshape(-1) for value in (at.alpha, at.sigma))
        t = self.schedule.logsnr_to_t(2.0 * (alpha.log() - sigma.log()))
        return self.schedule.network_time(t).round().float().expand(len(at.x_t))


@lru_cache(maxsize=8)
def _gradient_bytes(config: ClassifierConfig) -> int:
    return gradient_bytes(partial(NoisyClassifier, config), (1, 3, config.image_size, config.image_size), (1,))


def load_classifier(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Classifier:
    """A classifier in float32, in which alone its gradients are sure. Errors as `checkpoints.formats.load_any`."""
    network, spec = load_any(path, kind=KIND, dtype=torch.float32)
    network = network.to(device).to(memory_format=torch.channels_last).requires_grad_(False)
    return Classifier(network=thawed(network), schedule=schedule_from_config(spec.schedule_config))


def find_classifiers(folder: Path) -> Iterator[Path]:
    """Every classifier's file under `folder`, told by its header."""
    return find_checkpoints(folder, KIND)
