"""From which noise would a stage have drawn a picture that is given? DDIM backwards (arXiv 2010.02502, section 5.4).

Drawn again from there under another prompt, with DDIM and as many calls, what the prompts share stays where it was.

Shapes: b pictures, c channels, h w pixels. Pictures are in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .conditioning import Signals
from .denoiser import Prediction
from .draw import Draw
from .guidance.classifier_free import ClassifierFreeGuidance
from .samplers._base import Callback
from .samplers.ddim import DDIM, ddim_invert
from .sampling import denoiser_of, times_of, told_to_draw
from .stage import Prompt, Stage, to_device


@dataclass(frozen=True)
class Inversion:
    """What a picture was turned into, and what comes back of it."""

    x_T: Tensor  # (b c h w) the noise, float32 on the CPU: for `Draw.x_T`
    redrawn: Tensor  # (b c h w) in [-1, 1]: what DDIM draws of it under the same prompt
    psnr: Tensor  # (b,) dB between the pictures and those redrawn


@torch.inference_mode()
def invert(stage: Stage, prompt: Prompt | None, pictures: Tensor, draw: Draw) -> Inversion:
    """The noise of `pictures` (b c h w), of the size that is to be drawn, and how well DDIM draws them of it again.

    draw: its steps (100 where None), spacing, thresholding and callback; the network is called twice a step. Its sampler
    is DDIM and its guidance off: extrapolated predictions hardly invert. Raises ValueError for a stage that enlarges.
    """
    if stage.spec.enlarges:
        raise ValueError(f"a {stage.spec.stage} stage enlarges a picture: invert with one that draws")
    draw = replace(draw.or_else(steps=100), sampler=DDIM(), guidance=ClassifierFreeGuidance(scale=1.0))
    given, times = to_device(pictures, stage), times_of(stage, draw)

    def told(stage: Stage) -> dict[str, Signals]:
        return told_to_draw(stage, prompt, draw, tuple(given.shape))

    denoise = denoiser_of(stage, told, prompt, draw, len(given), tuple(given.shape[-2:]))
    x_T = ddim_invert(denoise, given, times, callback=_half(draw.callback, 0))
    redrawn = draw.sampler.sample(denoise, x_T, times, noise=_none, callback=_half(draw.callback, len(times)))
    redrawn = redrawn.clamp(-1.0, 1.0)
    error = (redrawn - given).square().flatten(1).mean(1).clamp_min(1e-12)
    return Inversion(x_T.float().cpu(), redrawn.float().cpu(), (10 * torch.log10(4.0 / error)).cpu())


def _half(callback: Callback | None, before: int) -> Callback | None:
    """The callback of one of two halves of a run, `before` calls of which have been."""
    if callback is None:
        return None

    def report(call: int, total: int, prediction: Prediction) -> None:
        callback(before + call, 2 * total, prediction)

    return report


def _none() -> Tensor:
    raise AssertionError("DDIM with eta 0 asked for noise")
