"""Which picture's embedding goes with a text? A loaded prior, drawn from by any sampler (arXiv 2204.06125, section 2.2).

Shapes: b pictures, e CLIP's common space.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..batching import InParts
from ..checkpoints.formats import find_checkpoints, load_any
from ..checkpoints.readers.karlo_prior import PriorSpec
from ..conditioning import Signals, TextEmbeds, mapped, repeated
from ..denoiser import Denoiser
from ..draw import Draw
from ..guidance.classifier_free import ClassifierFreeGuidance
from ..noise import BatchNoise
from ..predictor import Predictor
from ..prompts import Asked, Prompt
from ..samplers.ddpm import DDPM
from ..sampling import previewing
from ..schedules import Schedule, schedule_from_config
from .network import STEP, PriorNetwork

KIND = "prior"
STEPS, SCALE, SPACING = 25, 4.0, "linspace"  # Karlo's own
NEXT_CANDIDATE = 2**53  # what is added to a seed; nodes' own seeds lie below


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A loaded prior: its network, the schedule that it was trained on, and what its file says of it."""

    network: PriorNetwork
    schedule: Schedule
    spec: PriorSpec

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> Prior:
        """Compute there; returns self."""
        self.network.to(device)
        return self

    def run_bytes(self) -> int:
        """What one embedding takes while it is drawn, besides the weights: a prompt's and a null's keys and values."""
        config = self.network.config
        positions = 2 * config.depth * (config.text_tokens + 1 + STEP)
        return 2 * positions * config.width * self.network.position.element_size()

    def read(self, prompt: Asked) -> Prompt:
        """A prompt as the prior reads it. Raises ValueError for what is none, such as a class."""
        if not isinstance(prompt, Asked):
            raise ValueError(
                f"a prior reads a prompt, and got {type(prompt).__name__}: connect an Imagen Text Encode node"
            )
        return prompt.as_read(self.spec.text)

    def told(self, prompt: Asked, batch: int) -> dict[str, Signals]:
        """What `batch` pictures' embeddings are told of a prompt, as "cond", and as "null" of what to steer away from.

        Raises ValueError for a prompt of another encoder, or without a null one.
        """
        read = self.read(prompt)
        if read.negative is None:
            raise ValueError(
                "a prior steers away from what its encoder makes of an empty text: set padding to auto, or 77"
            )
        return {"cond": self._told(read.text, batch), "null": self._told(read.negative, batch)}

    def _told(self, text: TextEmbeds, batch: int) -> Signals:
        if len(text.embeds) not in (1, batch):
            raise ValueError(f"{len(text.embeds)} prompts for {batch} images: give one prompt, or one an image")
        told = self.network.encode_text(text.to(self.device, next(self.network.parameters()).dtype))
        return told if len(text.embeds) == batch else repeated(told, batch)


def load_prior(
    path: str | os.PathLike[str], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Prior:
    """A prior's file or folder, ready to draw from. Errors as `checkpoints.formats.load_any`."""
    network, spec = load_any(path, kind=KIND, dtype=dtype)
    schedule = schedule_from_config(spec.schedule_config)
    return Prior(network=network.to(device).requires_grad_(False), schedule=schedule, spec=spec)


def find_priors(folder: Path) -> Iterator[Path]:
    """Every prior under `folder`, told by its header or its settings."""
    return find_checkpoints(folder, KIND)


@torch.inference_mode()
def sample_prior(prior: Prior, prompt: Asked, draw: Draw, *, candidates: int = 1) -> Tensor:
    """The embeddings (b e), one a seed, that pictures of a prompt would have: float32, on the CPU, as CLIP's projection
    gives them.

    candidates: how many are drawn for each, of which that is kept whose product with the text's vector is the largest
    (the paper takes 2). Steps are 25 and guidance 4 where `draw` names none. Raises ValueError for a prompt that does not
    fit, or no candidate.
    """
    if candidates < 1:
        raise ValueError(f"{candidates} candidates are none: ask for at least 1")
    draw = draw.or_else(steps=STEPS, guidance=ClassifierFreeGuidance(scale=SCALE), spacing=_spacing(draw))
    seeds = [seed + NEXT_CANDIDATE * each for each in range(candidates) for seed in draw.seeds]
    prompt = prior.read(prompt)
    each = replace(prompt, text=_for_all(prompt.text, candidates), negative=_for_all(prompt.negative, candidates))
    drawn = _drawn(prior, each, replace(draw, seeds=seeds)).unflatten(0, (candidates, -1))  # candidates b e
    fit = (drawn * prompt.text.pooled.to(drawn)).sum(-1)  # candidates b
    return drawn[fit.argmax(0), torch.arange(drawn.shape[1])]


def _for_all(text: TextEmbeds | None, candidates: int) -> TextEmbeds | None:
    """Prompts, one a picture, as often as there are candidates; one prompt alone serves them all."""
    if text is None or len(text.embeds) == 1:
        return text
    return mapped(lambda tensor: tensor.repeat(candidates, *[1] * (tensor.ndim - 1)), text)


def _spacing(draw: Draw) -> str:
    return SPACING if isinstance(draw.sampler, DDPM) else draw.sampler.default_spacing


def _drawn(prior: Prior, prompt: Prompt, draw: Draw) -> Tensor:
    noise, config, space = BatchNoise(draw.seeds), prior.network.config, prior.spec.space
    shape = space.shape(config.embed_dim, 1, 1)
    predictor = Predictor(network=InParts(prior.network), schedule=prior.schedule, prediction_type="x_0")
    thresholding = draw.thresholding or space.thresholding()
    told = prior.told(prompt, len(draw.seeds))
    denoise = Denoiser(predictor, told, guidance=draw.guidances, thresholding=thresholding)
    times = draw.sampler.times(prior.schedule, draw.steps, draw.spacing)
    fresh = lambda: noise(shape, prior.device)
    callback = previewing(draw.callback, space)
    z_0 = draw.sampler.sample(denoise, fresh(), times, noise=fresh, callback=callback)
    return space.finish(prior.network.to_clip(z_0))
