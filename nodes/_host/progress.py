"""What does the user see while a network draws, and how is it stopped?"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from torch import Tensor

from .pictures import image_from_core
from .which import IN_COMFYUI, ProgressBar, runtime, throw_if_interrupted

PREVIEW_SIDE = 512


def _wants_preview() -> bool:
    return IN_COMFYUI or runtime.wants_preview()


def _preview(x_0: Tensor) -> tuple[str, Image.Image, int]:
    """The first picture of the batch as the host's progress bar takes it."""
    pixels = image_from_core(x_0[:1])[0].mul(255.0).round().byte().numpy()  # h w c
    picture = Image.fromarray(pixels)
    if max(picture.size) < PREVIEW_SIDE:  # a 64 pixel picture is shown large enough to be judged
        scale = PREVIEW_SIDE // max(picture.size)
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    return ("JPEG", picture, PREVIEW_SIDE)


class StepReporter:
    """A sampling callback: progress and a preview of the predicted picture each step, and a place to be stopped at."""

    def __init__(self, steps: int) -> None:
        self._bar, self._done, self._total, self._parts = ProgressBar(steps), 0, steps, 1
        throw_if_interrupted()

    def __call__(self, step: int, total: int, prediction) -> None:
        self._done, self._total = step, total
        preview = _preview(prediction.x_0) if _wants_preview() else None
        self._bar.update_absolute(step * self._parts, total * self._parts, preview)
        throw_if_interrupted()

    def part(self, part: int, parts: int) -> None:
        """Progress within the step begun: `part` of `parts`, counting from 1."""
        self._parts = parts
        self._bar.update_absolute(self._done * parts + part, self._total * parts)
        throw_if_interrupted()


def step_reporter(steps: int) -> StepReporter:
    """For a sampling run of so many calls of the network; the bar starts now."""
    return StepReporter(steps)


def training_reporter(steps: int) -> Callable[[int, int, float], None]:
    """For a small training run: progress, and a place to be stopped at, each step."""
    bar = ProgressBar(steps)
    throw_if_interrupted()

    def report(step: int, total: int, loss: float) -> None:
        bar.update_absolute(step, total)
        throw_if_interrupted()

    return report


def layer_reporter() -> Callable[[int, int], None]:
    """For a network that takes long a layer: progress, and a place to be stopped at. One bar each time it runs."""
    bars: list[ProgressBar] = []

    def report(layer: int, total: int) -> None:
        if layer == 1:
            bars[:] = [ProgressBar(total)]
        bars[0].update_absolute(layer, total)
        throw_if_interrupted()

    return report
