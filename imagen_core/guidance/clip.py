"""What is CLIP guidance? Towards what a CLIP finds like the prompt: GLIDE, arXiv 2112.10741, section 2.3.

A CLIP that was trained on noisy pictures too is shown x_t, as GLIDE's own was; an ordinary one the predicted x_0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ..predictor import Point
from ._gradient import ByGradient, clean_pull, noisy_pull

SEES = ("auto", "x_0", "x_t")


@dataclass(frozen=True, kw_only=True)
class ClipGuidance(ByGradient):
    """log p = logit_scale cos(picture, text), CLIP's own logit.

    scale: 0 is off, 1 its own temperature; works by itself or beside classifier-free guidance.
    start, end: the guided part of the way from noise to picture, as progress 1 - t: 0 is pure noise, 1 clean.
    clip: a model.Clip that looks, or None for no guidance.
    text: the prompt as a unit vector (1 e) or (b e), of its `embed_texts`.
    sees: what it is shown, "x_t" or the predicted "x_0"; "auto": x_t where it is noise-aware.
    """

    name: ClassVar[str] = "clip"
    clip: Any = field(default=None, repr=False, compare=False)
    text: Tensor | None = field(default=None, repr=False, compare=False)
    sees: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sees not in SEES:
            raise ValueError(f"sees is {self.sees!r}: expected one of {', '.join(SEES)}")

    def active(self, t: float) -> bool:
        return self.clip is not None and self.text is not None and super().active(t)

    @property
    def networks(self) -> tuple[Any, ...]:
        return () if self.clip is None else (self.clip,)

    def shift(self, x_0: Tensor, at: Point) -> Tensor:
        noisy = self.sees == "x_t" or (self.sees == "auto" and self.clip.noise_aware)
        pull = noisy_pull(self._of_noisy, at) if noisy else clean_pull(self._of_clean, x_0, at)
        return x_0 + self.scale * pull

    def _of_clean(self, x_0: Tensor) -> Tensor:
        return self._logits(self.clip.to(x_0.device).embed_pixels(x_0))

    def _of_noisy(self, at: Point) -> Tensor:
        """A stage whose schedule does not preserve variance shows it x_t brought to what it knows."""
        size = (at.alpha**2 + at.sigma**2) ** 0.5
        return self._logits(self.clip.to(at.x_t.device).embed_noisy(at.x_t / size))

    def _logits(self, seen: Tensor) -> Tensor:
        """(b,): of pictures' unit vectors (b e)."""
        text = self.text.clone().to(seen.device)  # made in inference mode, perhaps
        return self.clip.logit_scale * (seen * text).sum(-1)
