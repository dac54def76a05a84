"""How alike are a picture and a sentence? A loaded CLIP: both into one space, and the cosine between them.

Shapes: b pictures or texts, e the common space, c h w a picture in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..activation_memory import gradient_bytes
from ..text.tokenizer import Tokenizer
from .config import VisionConfig
from .network import ClipNetwork, VisionTower

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of pixels in [0, 1]
_CANNOT_READ = "this CLIP has no text tower with a projection: load a whole CLIP, such as clip-vit-large-patch14"
SCALE = 100.0  # every published CLIP's exp(logit_scale), at which training stops it


def prepared(pixels: Tensor, side: int) -> Tensor:
    """Pictures (b 3 h w) in [-1, 1] as CLIP's vision tower sees them: (b 3 side side), normalised. Differentiable.

    The shorter side is brought to `side`, bicubic and antialiased, and the middle cut out.
    """
    return normalised(_middle(pixels, side).clamp(-1.0, 1.0))


def _middle(pixels: Tensor, side: int) -> Tensor:
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    size = [max(side, round(length * side / shorter)) for length in (height, width)]
    seen = pixels if [height, width] == size else F.interpolate(pixels, size=size, mode="bicubic", antialias=True)
    top, left = ((length - side) // 2 for length in size)
    return seen[..., top : top + side, left : left + side]


def normalised(pixels: Tensor) -> Tensor:
    """(b 3 h w) in [-1, 1] by the mean and deviation of the pictures that CLIPs were trained on."""
    seen = (pixels + 1.0) / 2.0
    mean, deviation = (torch.tensor(values).to(seen)[:, None, None] for values in (MEAN, DEVIATION))
    return (seen - mean) / deviation


@dataclass(frozen=True)
class Clip:
    """A CLIP that measures: `embed_texts` and `embed_pixels` give unit vectors of one space, in float32."""

    network: ClipNetwork
    tokenizer: Tokenizer | None  # None of one that only looks

    def to(self, device: torch.device | str) -> Clip:
        """Compute there; returns self. Weights stay fit to be differentiated through, whatever mode a host is in."""
        with torch.inference_mode(False):
            self.network.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def gradient_bytes(self) -> int:
        """What taking the gradient of one picture holds at once, in bytes, besides the weights."""
        vision = self.network.config.vision
        return 0 if vision is None else _gradient_bytes(vision)

    @property
    def noise_aware(self) -> bool:
        """Whether it was trained on noisy pictures too, and `embed_noisy` means something."""
        return self.network.config.noise_aware

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied by to be a logit."""
        return math.exp(self.network.logit_scale.item()) if self.network.config.scaled else SCALE

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences as unit vectors (b e). Long ones are cut. Raises ValueError for a CLIP that cannot read."""
        return self.embed_ids(self.token_ids(texts).to(self.device))

    def embed_ids(self, ids: Tensor) -> Tensor:
        """The same of `token_ids` (b l), on the CLIP's device. Differentiable in its weights."""
        network = self.network
        if network.text_model is None or network.text_projection is None:
            raise ValueError(_CANNOT_READ)
        return F.normalize(network.text_projection(network.text_model(ids).pooled).float(), dim=-1)

    def token_ids(self, texts: Sequence[str]) -> Tensor:
        """Ids between the marks (b l), as long as the tower's positions, end marks behind the end."""
        if self.network.text_model is None or self.tokenizer is None:
            raise ValueError(_CANNOT_READ)
        return torch.tensor([self._ids(text) for text in texts])

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Pictures (b 3 h w) in [-1, 1], of any size, as unit vectors (b e). Differentiable.

        Raises ValueError for a CLIP that cannot look.
        """
        return F.normalize(self.project_pixels(pixels), dim=-1)

    def embed_noisy(self, x_t: Tensor) -> Tensor:
        """x_t (b 3 h w) = alpha x_0 + sigma eps, alpha^2 + sigma^2 = 1, as unit vectors (b e), of a noise-aware CLIP.

        Nothing is clipped, and the level need not be told: it is seen. Differentiable; errors as of `embed_pixels`.
        """
        return F.normalize(self._project(x_t, lambda x, side: normalised(_middle(x, side))), dim=-1)

    def project_pixels(self, pixels: Tensor) -> Tensor:
        """The same as CLIP's projection gives them, not normalised: what priors and decoders take. Errors as there."""
        return self._project(pixels, prepared)

    def _project(self, pixels: Tensor, prepare: Callable[[Tensor, int], Tensor]) -> Tensor:
        network = self.network
        if network.vision_model is None or network.visual_projection is None:
            raise ValueError(
                "this CLIP has no vision tower with a projection: load a whole CLIP, or a clip_vision file"
            )
        seen = prepare(pixels.to(self.device, torch.float32), network.config.vision.side)
        weight = network.visual_projection.weight
        return network.visual_projection(network.vision_model(seen.to(weight.dtype)).pooled).float()

    @property
    def start(self) -> int:
        """The id of the mark before a text, which every published table has beside that of its end."""
        stated = None if self.tokenizer is None else self.tokenizer.id_of("<|startoftext|>")
        return self.network.config.text.end - 1 if stated is None else stated

    def _ids(self, text: str) -> list[int]:
        config = self.network.config.text
        ids = self.tokenizer.ids(text.encode("utf-8", "replace").decode("utf-8"))[: config.positions - 2]
        return [self.start, *ids, *[config.end] * (config.positions - 1 - len(ids))]


@lru_cache(maxsize=8)
def _gradient_bytes(config: VisionConfig) -> int:
    return gradient_bytes(partial(VisionTower, config), (1, 3, config.side, config.side))


@dataclass(frozen=True)
class Ranking:
    """A batch beside a sentence: (b,) each, on the CPU; `order` puts the best first."""

    scores: Tensor  # cosines in [-1, 1]; CLIPScore (arXiv 2104.08718) is 2.5 times as much, no less than 0
    probabilities: Tensor  # of the sentence among all that were asked
    order: Tensor  # by probability where there are others to ask, else by score


@torch.inference_mode()
def clip_ranking(clip: Clip, pixels: Tensor, text: str, against: Sequence[str] = ()) -> Ranking:
    """How well pictures (b 3 h w) in [-1, 1] fit `text`, also beside other sentences that they should not fit.

    Raises ValueError for an empty text, or for a CLIP without one of its towers.
    """
    if not text.strip():
        raise ValueError("there is no text to measure the pictures against: write what they should show")
    cosines = clip.embed_pixels(pixels) @ clip.embed_texts([text, *against]).mT  # b 1+others
    likely = (clip.logit_scale * cosines).softmax(-1)[:, 0].cpu()
    scores = cosines[:, 0].cpu()
    return Ranking(scores, likely, (likely if against else scores).argsort(descending=True, stable=True))
