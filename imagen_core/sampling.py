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
from .inpainting import InitImage, sample_from
from .noise import BatchNoise
from .samplers import RESPACINGS, Sampler
from .samplers._base import Callback
from .samplers.dpmpp_2m import DPMPP2M
from .settings import make_thresholding
from .stage import Prompt, Stage, to_device
from .super_resolution import augment, upsample
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
    spacing: str | None = None,
    init: InitImage | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Draw one picture a seed (Imagen, section 2.3): (b c h w) in [-1, 1], float32, on the CPU.

    steps: calls of the network (at least 1; a named spacing fixes them itself). guidance: classifier-free at 5 when
    None; thresholding: the checkpoint's own when None, else dynamic at 99.5 %; sampler: DPM-Solver++ 2M when None;
    spacing: see `time_grid`; when None the checkpoint's own for its own sampler and steps, else the sampler's.
    init: a picture to start from or to keep a part of. callback(step, total, prediction) runs after each call and may
    raise to stop. Raises ValueError for a stage of another kind or a prompt or picture that does not fit it.
    """
    if stage.spec.stage != "base64":
        raise ValueError(f"a base64 checkpoint draws from text, and this is {stage.spec.stage}: load a base64 one")
    if min(height, width) < 1:
        raise ValueError(f"a picture of {width}x{height} has no pixels: ask for at least 1x1")
    cond, null = stage.encode_prompt(prompt, len(seeds))
    noise = BatchNoise(seeds)
    return _run(
        stage,
        Conditioning(text=cond),
        Conditioning(text=null),
        x_T=noise((3, height, width), stage.device),
        noise=noise,
        steps=steps,
        spacing=spacing,
        init=init,
        sampler=sampler or DPMPP2M(),
        guidance=guidance or ClassifierFreeGuidance(scale=5.0),
        thresholding=thresholding or default_thresholding(stage),
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
    spacing: str | None = None,
    init: InitImage | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Enlarge `low_res` (b c h w, in [-1, 1]) by `factor`: (b c factor*h factor*w) in [-1, 1], float32, on the CPU.

    aug_level in [0, 1]: how much noise is put on the low-resolution picture, once, before sampling; the network is
    told (noise conditioning augmentation, Imagen section 2.5: best fidelity at 0, the paper's best samples at 0.1 to
    0.3). The other arguments are those of `sample_base`, `init` a picture of the large one's content; guidance is off
    when None. Raises ValueError for a base stage, pixels that are not finite, a level outside [0, 1], or a number of
    seeds other than of images.
    """
    _check_low_res(stage, low_res, seeds, factor, aug_level)
    noise = BatchNoise(seeds)
    low_res = to_device(low_res, stage)
    height, width = (max(1, round(side * factor)) for side in low_res.shape[-2:])
    # In the order in which diffusers draws them, so that a seed means the same there.
    x_T, aug_noise = (noise((3, height, width), stage.device) for _ in range(2))
    picture = low_res_conditioning(stage, low_res, aug_level, aug_noise)
    cond, null = stage.encode_prompt(prompt, len(seeds))
    return _run(
        stage,
        picture.with_text(cond),
        picture.with_text(null),
        x_T=x_T,
        noise=noise,
        steps=steps,
        spacing=spacing,
        init=init,
        sampler=sampler or DPMPP2M(),
        guidance=guidance or ClassifierFreeGuidance(scale=1.0),
        thresholding=thresholding or default_thresholding(stage),
        callback=callback,
    )


def low_res_conditioning(stage: Stage, low_res: Tensor, aug_level: float, noise: Tensor) -> Conditioning:
    """What a super-resolution network is told of `low_res` (b c h w): enlarged to the size of `noise`, and noised."""
    level = torch.full((noise.shape[0],), aug_level, device=noise.device)
    upsampled = augment(
        upsample(low_res, tuple(noise.shape[-2:]), stage.spec.low_res_resize),
        level,
        stage.schedule,
        noise,
        zero_is_clean=stage.spec.aug_zero_is_clean,
    )
    return Conditioning(low_res=upsampled, aug_level=level)


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


def default_thresholding(stage: Stage) -> Thresholding:
    """What a stage is sampled with when nobody says otherwise: as its checkpoint asks, or the paper's dynamic 99.5 %."""
    asked = stage.spec.defaults
    if "thresholding" in asked:
        return make_thresholding(asked["thresholding"], limit=asked.get("threshold_limit", 1.0))
    if "percentile" not in asked:
        return DynamicThresholding()
    return DynamicThresholding(percentile=asked["percentile"], maximum=asked.get("threshold_maximum"))


def default_spacing(stage: Stage, sampler: Sampler, steps: int) -> str:
    """The checkpoint's spacing, if it was chosen for this sampler and this many steps; else the sampler's own."""
    asked = stage.spec.defaults
    chosen = asked.get("spacing") if asked.get("sampler") == sampler.name else None
    if chosen in RESPACINGS and sum(RESPACINGS[chosen]) != steps:
        return sampler.default_spacing
    return chosen or sampler.default_spacing


def _run(
    stage: Stage,
    cond: Conditioning,
    null: Conditioning,
    *,
    x_T: Tensor,
    noise: BatchNoise,
    steps: int,
    spacing: str | None,
    init: InitImage | None,
    sampler: Sampler,
    guidance: Guidance,
    thresholding: Thresholding,
    callback: Callback | None,
) -> Tensor:
    """Noise, and perhaps a picture to start from, to a clean picture: the one run that every stage shares."""
    if steps < 1:
        raise ValueError(f"{steps} steps draw nothing: ask for at least 1")
    denoise = Denoiser(
        stage.network,
        stage.schedule,
        prediction_type=stage.spec.prediction_type,
        learned_variance=stage.spec.learned_variance,
        cond=cond,
        null=null if stage.reads_text else None,
        guidance=guidance,
        thresholding=thresholding,
    )
    times = sampler.times(stage.schedule, steps, spacing or default_spacing(stage, sampler, steps))
    run = {"noise": lambda: noise(tuple(x_T.shape[1:]), stage.device), "callback": callback}
    if init is None:
        x_0 = sampler.sample(denoise, x_T, times, **run)
    else:
        fitted = init.fitted(len(x_T), tuple(x_T.shape[-2:]), stage.device)
        x_0 = sample_from(fitted, sampler, denoise, x_T, times, **run)
    return x_0.clamp(-1.0, 1.0).float().cpu()
