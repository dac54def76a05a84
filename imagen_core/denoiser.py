"""What does a sampler see? A network, what it is told, guidance and thresholding joined into `denoise(x_t, t)`.

Shapes: b images, c channels, h w pixels; latents, embeddings and frames have other axes behind the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .conditioning import Signals, joined
from .guidance import Guidance
from .parameterization import per_image, x_0_to_eps
from .predictor import Point, Predictor
from .steering import in_force
from .thresholding import Thresholding

Others = Mapping[str, tuple[Predictor, Signals]]  # a branch that another network answers, and what that one is told


@dataclass(frozen=True)
class Prediction:
    """What is believed of x_t: `x_0`, and the `eps` that goes with it; in x_t's dtype, b c h w.

    variance_frac: of a network with learned variance, where between posterior variance (0) and beta (1) the step's
    log-variance lies: (v + 1) / 2 of Improved DDPM, Eq. 15. None of other networks.
    """

    x_0: Tensor
    eps: Tensor
    variance_frac: Tensor | None = None


@dataclass(frozen=True)
class Working:
    """A guidance in one run: its memory, and at one call for which images it works."""

    guidance: Guidance
    memory: Any
    images: tuple[bool, ...] = ()

    def at(self, times: list[float]) -> Working:
        return Working(self.guidance, self.memory, tuple(self.guidance.active(t) for t in times))

    def only(self, changed: Tensor, unchanged: Tensor) -> Tensor:
        """`changed` for the images for which it works, `unchanged` for the others."""
        if all(self.images):
            return changed
        return changed.where(per_image(torch.tensor(self.images, device=changed.device), changed) > 0, unchanged)


class Denoiser:
    """One sampling run's `denoise(x_t, t) -> Prediction`; make a new one for each run.

    told: what the network is told, by the name of the branch. "cond" is what is asked for, "null" the same without the
        prompt; without a null there is nothing to guide away from, and guidance that asks for it is off.
    guidance: any number; each pulls as if it were alone, and the pulls add up. Where one is active the branches that it
        asks for run as one batch with cond.
    others: branches that other networks answer, each with what that one is told: "weak" of autoguidance.
    """

    def __init__(
        self,
        predictor: Predictor,
        told: Mapping[str, Signals],
        *,
        guidance: Guidance | Sequence[Guidance] = (),
        thresholding: Thresholding,
        others: Others | None = None,
    ) -> None:
        self.schedule = predictor.schedule
        self._predictor, self._others, self._thresholding = predictor, dict(others or {}), thresholding
        self._together = cache(lambda names: joined([told[name] for name in names]))  # once for all calls
        self._before: dict[str, Tensor] = {}  # x_0 by branch at the call before, for networks that are told of it
        known = {*told, *self._others}
        given = (guidance,) if isinstance(guidance, Guidance) else guidance
        self._guidance = [Working(each, each.start_run()) for each in given if _answerable(each, known)]

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        """Predict from x_t (b c h w), float32 or finer, at time `t`: a scalar, best on the CPU, or (b,) one an image."""
        at, times = Point.on(self.schedule, x_t, t), t.reshape(-1).tolist()
        working = [each for each in (each.at(times) for each in self._guidance) if any(each.images)]
        x_0, variance_frac = self._branches(at, working)
        guided = self._thresholding(self._guided(x_0, at, working))
        for each in working:
            guided = each.only(each.guidance.shift(guided, at), guided)
        # With the prompt, as published: guidance extrapolates means, and has no meaning for variances.
        return Prediction(x_0=guided, eps=x_0_to_eps(guided, x_t, at.alpha, at.sigma), variance_frac=variance_frac)

    def _branches(self, at: Point, working: list[Working]) -> tuple[dict[str, Tensor], Tensor | None]:
        """x_0 by branch, of those that somebody asks for; and the variance's share under cond."""
        asked = dict.fromkeys(["cond", *(name for each in working for name in each.guidance.asks)])
        own = tuple(name for name in asked if name not in self._others)
        told = in_force(self._together(own), at.t.reshape(-1).tolist())
        x_0, variance_frac = self._predictor(at, self._reminded(self._predictor, told, own, at.x_t), len(own))
        found = dict(zip(own, x_0, strict=True))
        for name in asked.keys() - found.keys():
            predictor, told = self._others[name]
            told = self._reminded(predictor, told, (name,), at.x_t)
            found[name] = predictor(at.on_other(self.schedule, predictor.schedule), told)[0][0]
        if self._predictor.self_conditioned or any(
            predictor.self_conditioned for predictor, _ in self._others.values()
        ):
            self._before = found
        return found, variance_frac

    def _reminded(self, predictor: Predictor, told: Signals, names: Sequence[str], x_t: Tensor) -> Signals:
        """The same, and for a self-conditioned network what it believed at the call before under each of these branches.

        Its own belief, as in training: neither guided nor that of another branch, which would tell "null" of the prompt.
        """
        if not predictor.self_conditioned:
            return told
        before = [self._before.get(name, torch.zeros_like(x_t)) for name in names]
        return told + Signals(pixels=torch.cat(before))

    def _guided(self, x_0: dict[str, Tensor], at: Point, working: list[Working]) -> Tensor:
        guided = cond = x_0["cond"]
        for each in working:
            alone = each.guidance.combine(x_0, at, memory=each.memory)
            if alone is not cond:
                alone = each.only(alone, cond)
                guided = alone if guided is cond else guided + (alone - cond)
        return guided


def _answerable(guidance: Guidance, known: set[str]) -> bool:
    """Whether every branch is there that a guidance asks for. ValueError where one is missing that should be."""
    missing = set(guidance.asks) - known
    if missing - {"null"}:
        raise ValueError(f"{guidance.name} asks for {', '.join(sorted(missing))}, which nothing here answers")
    return not missing
