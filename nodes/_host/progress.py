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


def step_reporter(steps: int) -> Callable:
    """A sampling callback: progress and a preview of the predicted picture each step, and a place to be stopped at."""
    bar = ProgressBar(steps)
    throw_if_interrupted()

    def report(step: int, total: int, prediction) -> None:
        bar.update_absolute(step, total, _preview(prediction.x_0) if _wants_preview() else None)
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
