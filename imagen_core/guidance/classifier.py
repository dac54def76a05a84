"""What is classifier guidance? Towards what a noisy classifier calls the class that was asked for.

ADM, arXiv 2105.05233, section 4. In terms of x_0 (see _gradient.py), so for every sampler, and as strong at 25 steps as at
250. The published ancestral form adds scale * variance * gradient to a step's mean: at 250 steps of the linear schedule it
is 2 to 3 % weaker than this, at 25 steps 18 to 27 %, and vanishes into it as steps grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..predictor import Point
from ._gradient import GradientGuidance


@dataclass(frozen=True, kw_only=True)
class ClassifierGuidance(GradientGuidance):
    """x_0 += scale sigma^2 / alpha grad log p(class | x_t).

    scale: 0 is off, 1 the classifier's own word; published are 0.5 to 4, and 10 for a network without classes.
    start, end: the guided part of the way from noise to picture, as progress 1 - t: 0 is pure noise, 1 clean.
    classifier: a loaded `Classifier`, or None for no guidance.
    labels: the class of every image, or one an image.
    """

    name: ClassVar[str] = "classifier"
    classifier: Any = field(default=None, repr=False, compare=False)
    labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))  # a list where they come from JSON
        classes = 0 if self.classifier is None else self.classifier.num_classes
        wrong = [label for label in self.labels if not 0 <= label < classes]
        if wrong and classes:
            raise ValueError(f"label {wrong[0]} is no class of this classifier: it knows {classes}, 0 to {classes - 1}")

    def active(self, t: float) -> bool:
        return self.classifier is not None and bool(self.labels) and super().active(t)

    @property
    def networks(self) -> tuple[Any, ...]:
        return () if self.classifier is None else (self.classifier,)

    def log_probability(self, at: Point) -> Tensor:
        batch = len(at.x_t)
        if len(self.labels) not in (1, batch):
            raise ValueError(f"{len(self.labels)} labels for {batch} images: give one, or one an image")
        found = self.classifier.log_probabilities(at)  # b num_classes
        labels = torch.tensor(self.labels, device=found.device).expand(batch)
        return found.gather(1, labels[:, None])[:, 0]
