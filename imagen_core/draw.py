"""How is a picture drawn? All that sampling is told besides the stage and what the picture shall show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from .control import Control
from .guidance import Guidance
from .inpainting import InitImage
from .samplers import Sampler
from .samplers._base import Callback
from .samplers.dpmpp_2m import DPMPP2M
from .thresholding import Thresholding
from .tiling import Tiling


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One run's settings, frozen; `dataclasses.replace` changes one. Defaults suit imagen-mini's base."""

    seeds: Sequence[int]  # one an image: image i is what seeds[i] draws alone
    steps: int | None = None  # calls of the network; a named spacing fixes them itself; None is 25, enlarging 8
    sampler: Sampler = field(default_factory=DPMPP2M)
    guidance: Guidance | Sequence[Guidance] | None = (
        None  # their pulls add up; None is classifier-free as the checkpoint asks, or else at 5; enlarging off
    )
    thresholding: Thresholding | None = None  # None is the checkpoint's own, or else dynamic at 99.5 %
    spacing: str | None = (
        None  # see `time_grid`; None is the checkpoint's for its own sampler and steps, or the sampler's
    )
    init: InitImage | None = None  # a picture to start from, or to keep a part of
    controls: Sequence[Control] = ()  # hints that the picture follows
    tiling: Tiling | None = None  # the networks see tiles of the picture; None shows it whole
    x_T: Tensor | None = None  # (b c h w) the noise to start from, in place of the seeds' own: see `inversion.invert`
    temperature: float | None = None  # what the noise to start from is multiplied by; None is the checkpoint's, or 1
    callback: Callback | None = None  # callback(step, total, prediction) after each call; what it raises stops the run

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"{self.steps} steps draw nothing: ask for at least 1")
        if self.temperature is not None and not 0.0 < self.temperature <= 2.0:
            raise ValueError(f"temperature {self.temperature} is outside (0, 2]: 1 is as trained, .997 is GLIDE's")

    @property
    def guidances(self) -> tuple[Guidance, ...]:
        """All of them, none where `guidance` is None."""
        if self.guidance is None:
            return ()
        return (self.guidance,) if isinstance(self.guidance, Guidance) else tuple(self.guidance)

    def from_noise(self, x_T: Tensor, callback: Callback | None = None) -> Draw:
        """The same from a noise that is given, and reporting elsewhere."""
        return replace(self, x_T=x_T, callback=callback)

    def or_else(self, **settings: Any) -> Draw:
        """The same, with these settings where this one is None."""
        return replace(self, **{name: value for name, value in settings.items() if getattr(self, name) is None})
