"""How a stage turns noise into pictures: the base from a prompt, super-resolution from a smaller picture.

Shapes: b images, c channels, h w pixels. Pictures are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .conditioning import Conditioning
from .denoiser import Denoiser
from .guidance import Guidance
from .guidance.classifier_free import ClassifierFreeGuidance
from .noise import BatchNoise
from .samplers import Sampler
from .samplers._base import Callback
from .samplers.dpmpp_2m import DPMPP2M
from .stage import Prompt, Stage, to_device
from .super_resolution import augment, resize
from .thresholding import Thresholding
from .thresholding.dynamic import DynamicThresholding

MAX_PIXELS = 4096 * 4096  # an output picture; more would need tiles, and takes a machine's memory without warning


@torch.inference_mode()
def sample_base(
    stage: Stage,
    prompt: Prompt | None,
    *,
    seeds: Sequence[int],
    height: int = 64,
    width: int = 64,
    steps: int = 25,
    sampler: Sampler | None = None,
    guidance: Guidance | None = None,
    thresholding: Thresholding | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Draw one picture a seed (Imagen, section 2.3): (b c h w) in [-1, 1], float32, on the CPU.

    steps: calls of the network (at least 1). guidance: classifier-free at 5 when None; thresholding: dynamic at
    99.5 % when None; sampler: DPM-Solver++ 2M when None. callback(step, total, prediction) runs after each call and
    may raise to stop. Raises ValueError for a stage of another kind or a prompt that does not fit it.
    """
    if stage.spec.stage != "base64":
        raise ValueError(f"a base64 checkpoint draws from text, and this is {stage.spec.stage}: load a base64 one")
    if min(height, width) < 1:
        raise ValueError(f"a picture of {width}x{height} has no pixels: ask for at least 1x1")
    cond, null = stage.encode_prompt(prompt, len(seeds))
    return _run(
        stage,
        Conditioning(text=cond),
        Conditioning(text=null),
        size=(height, width),
        noise=BatchNoise(seeds),
        steps=steps,
        sampler=sampler or DPMPP2M(),
        guidance=guidance or ClassifierFreeGuidance(scale=5.0),
        thresholding=thresholding or DynamicThresholding(),
        callback=callback,
    )


@torch.inference_mode()
def super_resolve(
    stage: Stage,
    low_res: Tensor,
    prompt: Prompt | None = None,
    *,
    seeds: Sequence[int],
    factor: float = 4.0,
    aug_level: float = 0.0,
    steps: int = 8,
    sampler: Sampler | None = None,
    guidance: Guidance | None = None,
    thresholding: Thresholding | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Enlarge `low_res` (b c h w, in [-1, 1]) by `factor`: (b c factor*h factor*w) in [-1, 1], float32, on the CPU.

    aug_level in [0, 1]: how much noise is put on the low-resolution picture, once, before sampling; the network is
    told (noise conditioning augmentation, Imagen section 2.5: best fidelity at 0, the paper's best samples at 0.1 to
    0.3). The other arguments are those of `sample_base`; guidance is off when None. Raises ValueError for a base
    stage, pixels that are not finite, a level outside [0, 1], or a number of seeds other than of images.
    """
    _check_low_res(stage, low_res, seeds, factor, aug_level)
    noise = BatchNoise(seeds)
    low_res = to_device(low_res, stage)
    height, width = (max(1, round(side * factor)) for side in low_res.shape[-2:])
    level = torch.full((len(seeds),), aug_level, device=stage.device)
    upsampled = resize(low_res, (height, width))
    upsampled = augment(upsampled, level, stage.schedule, noise(tuple(upsampled.shape[1:]), stage.device))
    cond, null = stage.encode_prompt(prompt, len(seeds))
    picture = Conditioning(low_res=upsampled, aug_level=level)
    return _run(
        stage,
        picture.with_text(cond),
        picture.with_text(null),
        size=(height, width),
        noise=noise,
        steps=steps,
        sampler=sampler or DPMPP2M(),
        guidance=guidance or ClassifierFreeGuidance(scale=1.0),
        thresholding=thresholding or DynamicThresholding(),
        callback=callback,
    )


def _check_low_res(stage: Stage, low_res: Tensor, seeds: Sequence[int], factor: float, aug_level: float) -> None:
    if stage.spec.stage == "base64":
        raise ValueError("a base64 checkpoint draws from text and enlarges nothing: load an sr256 or sr1024 one")
    if not 0.0 <= aug_level <= 1.0:
        raise ValueError(f"aug_level {aug_level} is outside [0, 1]: 0 trusts the small picture, 0.3 restyles it")
    if factor < 1.0:
        raise ValueError(f"factor {factor} makes the picture smaller: super-resolution takes 1 or more, usually 4")
    if len(seeds) != low_res.shape[0]:
        raise ValueError(f"{len(seeds)} seeds for {low_res.shape[0]} images: give one seed an image")
    height, width = low_res.shape[-2:]
    if height * width * factor**2 > MAX_PIXELS:
        raise ValueError(
            f"{width}x{height} pixels {factor:g} times larger are {height * width * factor**2 / 1e6:.0f} megapixels, and"
            f" {MAX_PIXELS / 1e6:.0f} is the limit: shrink the picture first (Imagen Resize), or cut it into parts"
        )
    if not torch.isfinite(low_res).all():
        raise ValueError("the small picture holds NaN or infinite pixels: look at the node that made it")


def _run(
    stage: Stage,
    cond: Conditioning,
    null: Conditioning,
    *,
    size: tuple[int, int],
    noise: BatchNoise,
    steps: int,
    sampler: Sampler,
    guidance: Guidance,
    thresholding: Thresholding,
    callback: Callback | None,
) -> Tensor:
    """Pure noise to a clean picture: the one loop that every stage shares."""
    if steps < 1:
        raise ValueError(f"{steps} steps draw nothing: ask for at least 1")
    shape = (3, *size)
    denoise = Denoiser(
        stage.unet,
        stage.schedule,
        prediction_type=stage.spec.prediction_type,
        learned_variance=stage.spec.learned_variance,
        cond=cond,
        null=null if stage.reads_text else None,
        guidance=guidance,
        thresholding=thresholding,
    )
    x_0 = sampler.sample(
        denoise,
        noise(shape, stage.device),
        sampler.times(stage.schedule, steps),
        noise=lambda: noise(shape, stage.device),
        callback=callback,
    )
    return x_0.clamp(-1.0, 1.0).float().cpu()
