"""What is CLIP guidance? Towards what a CLIP finds like the prompt: GLIDE, arXiv 2112.10741, section 2.3.

With an ordinary CLIP, trained on clean pictures, which is shown the predicted x_0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ._gradient import CleanGuidance


@dataclass(frozen=True, kw_only=True)
class ClipGuidance(CleanGuidance):
    """log p = logit_scale cos(picture, text), CLIP's own logit.

    scale: 0 is off, 1 its own temperature; works by itself or beside classifier-free guidance.
    start, end: the guided part of the way from noise to picture, as progress 1 - t: 0 is pure noise, 1 clean.
    clip: a model.Clip that looks, or None for no guidance.
    text: the prompt as a unit vector (1 e) or (b e), of its `embed_texts`.
    """

    name: ClassVar[str] = "clip"
    clip: Any = field(default=None, repr=False, compare=False)
    text: Tensor | None = field(default=None, repr=False, compare=False)

    def active(self, t: float) -> bool:
        return self.clip is not None and self.text is not None and super().active(t)

    @property
    def networks(self) -> tuple[Any, ...]:
        return () if self.clip is None else (self.clip,)

    def log_probability_clean(self, x_0: Tensor) -> Tensor:
        clip = self.clip.to(x_0.device)
        text = self.text.clone().to(x_0.device)  # made in inference mode, perhaps
        return clip.logit_scale * (clip.embed_pixels(x_0) * text).sum(-1)
