"""How does a stage turn noise into pictures: the base from a prompt, super-resolution from a smaller picture?

Shapes: b images, c channels, h w pixels. Pictures are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .classes import Classes
from .conditioning import Signals
from .control import controlled
from .denoiser import Denoiser, Others
from .draw import Draw
from .guidance.classifier_free import ClassifierFreeGuidance
from .inpainting import sample_from, shown
from .noise import BatchNoise
from .predictions import prediction_of
from .prompts import Prompt, TypedPrompt
from .samplers import SAMPLERS, Sampler
from .samplers._base import Callback
from .samplers.spacing import listed
from .settings import make_thresholding
from .spaces import Space
from .stage import Stage, to_device
from .super_resolution import as_8bit, augment, upsample
from .thresholding import Thresholding
from .thresholding.dynamic import DynamicThresholding
from .tiling import tiled

MAX_PIXELS = 4096 * 4096  # an output picture; more takes a machine's memory without warning
MAX_TILED_PIXELS = 4 * MAX_PIXELS  # in tiles only the picture itself grows: noise, predictions of the last steps


@torch.inference_mode()
def sample_base(
    stage: Stage,
    prompt: Prompt | TypedPrompt | Classes | None,
    draw: Draw,
    *,
    height: int | None = None,
    width: int | None = None,
) -> Tensor:
    """Draw one picture a seed (Imagen, section 2.3): (b c h w) in [-1, 1], float32, on the CPU.

    Of a stage that draws no pixels, what its space hands out. height, width: in pixels, those that the stage was trained
    at where None. Guidance is classifier-free as the checkpoint asks, or at 5, where `draw` names none. Raises
    ValueError for a stage of another kind, or a prompt or picture that does not fit it.
    """
    height, width = height or stage.spec.native_side, width or stage.spec.native_side
    if min(height, width) < 1:
        raise ValueError(f"a picture of {width}x{height} has no pixels: ask for at least 1x1")
    asked = ClassifierFreeGuidance(scale=float(stage.spec.defaults.get("guidance_scale", 5.0)))
    draw = draw.or_else(steps=25, guidance=asked)

    def told(stage: Stage) -> dict[str, Signals]:
        _check_role(stage, draws=True)
        return told_to_draw(stage, prompt, draw, (len(draw.seeds), *_shape(stage, height, width)))

    noise = BatchNoise(draw.seeds)
    return _run(stage, told, prompt, draw, noise(_shape(stage, height, width), stage.device), noise)


def told_to_draw(
    stage: Stage, prompt: Prompt | TypedPrompt | Classes | None, draw: Draw, shape: tuple[int, ...]
) -> dict[str, Signals]:
    """What a stage that draws pictures of a shape (b c h w) is told, by branch. Errors as `Stage.encode_prompt`."""
    picture = Signals(pixels=_pixels(stage, draw, shape))
    return {name: picture + text for name, text in stage.encode_prompt(prompt, shape[0]).items()}


def _pixels(stage: Stage, draw: Draw, shape: tuple[int, ...], **given: Tensor) -> Tensor | None:
    """What is joined to x_t of a shape (b c h w), in the order in which the network reads it; None where nothing is."""
    if "known" in stage.spec.inputs:
        given |= shown(draw.init, shape, stage.device)
    read = [given[name] for name in stage.spec.inputs if name in given]
    return torch.cat(read, dim=1) if len(read) > 1 else next(iter(read), None)


@torch.inference_mode()
def super_resolve(
    stage: Stage,
    low_res: Tensor,
    prompt: Prompt | TypedPrompt | None,
    draw: Draw,
    *,
    factor: float = 4.0,
    aug_level: float = 0.0,
) -> Tensor:
    """Enlarge `low_res` (b c h w, in [-1, 1]) by `factor`: (b c factor*h factor*w) in [-1, 1], float32, on the CPU.

    aug_level in [0, 1]: how much noise is put on the low-resolution picture, once, before sampling; the network is
    told (noise conditioning augmentation, Imagen section 2.5: best fidelity at 0, the paper's best samples at 0.1 to
    0.3). `draw.init` is a picture of the large one's content; guidance is off where `draw` names none. Raises ValueError
    for a base stage, pixels that are not finite, a level outside [0, 1], or a number of seeds other than of images.
    """
    _check_role(stage, draws=False)
    _check_low_res(low_res, draw, factor, aug_level)
    draw = draw.or_else(steps=8, guidance=ClassifierFreeGuidance(scale=1.0))
    noise = BatchNoise(draw.seeds)
    height, width = (max(1, round(side * factor)) for side in low_res.shape[-2:])
    # In the order in which diffusers draws them, so that a seed means the same there.
    x_T, aug_noise = (noise(_shape(stage, height, width), stage.device) for _ in range(2))

    def told(stage: Stage) -> dict[str, Signals]:
        _check_role(stage, draws=False)
        noised = low_res_conditioning(stage, to_device(low_res, stage), aug_level, aug_noise.to(stage.device))
        picture = replace(noised, pixels=_pixels(stage, draw, tuple(x_T.shape), low_res=noised.pixels))
        return {name: picture + text for name, text in stage.encode_prompt(prompt, len(draw.seeds)).items()}

    return _run(stage, told, prompt, draw, x_T, noise)


def low_res_conditioning(stage: Stage, low_res: Tensor, aug_level: float, noise: Tensor) -> Signals:
    """What a super-resolution network is told of `low_res` (b c h w): enlarged to the size of `noise`, and noised.

    Raises ValueError for noise on the way to a network that could not be told of it.
    """
    if aug_level > 0.0 and "aug_level" not in stage.spec.inputs:
        raise ValueError(
            f"aug_level {aug_level}: this {stage.spec.stage} network is told of no noise; set aug_level to 0"
        )
    level = torch.full((noise.shape[0],), aug_level, device=noise.device)
    seen = as_8bit(low_res) if stage.spec.low_res_8bit else low_res
    upsampled = augment(
        upsample(seen, tuple(noise.shape[-2:]), stage.spec.low_res_resize),
        level,
        stage.schedule,
        noise,
        zero_is_clean=stage.spec.aug_zero_is_clean,
    )
    return Signals(pixels=upsampled, aug_level=level)


def _shape(stage: Stage, height: int, width: int) -> tuple[int, ...]:
    return stage.spec.space.shape(stage.spec.unet_config.in_channels, height, width)


def _check_role(stage: Stage, *, draws: bool) -> None:
    if draws and stage.spec.enlarges:
        raise ValueError(
            f"this is {stage.spec.stage}, which enlarges a picture: to draw one load a base stage, such as base64"
        )
    if not draws and not stage.spec.enlarges:
        raise ValueError(
            f"this is {stage.spec.stage}, which draws and enlarges nothing: load an sr stage, such as sr256 or sr1024"
        )


def _check_low_res(low_res: Tensor, draw: Draw, factor: float, aug_level: float) -> None:
    if not 0.0 <= aug_level <= 1.0:
        raise ValueError(f"aug_level {aug_level} is outside [0, 1]: 0 trusts the small picture, 0.3 restyles it")
    if factor < 1.0:
        raise ValueError(f"factor {factor} makes the picture smaller: super-resolution takes 1 or more, usually 4")
    if len(draw.seeds) != low_res.shape[0]:
        raise ValueError(f"{len(draw.seeds)} seeds for {low_res.shape[0]} images: give one seed an image")
    _check_size(*low_res.shape[-2:], factor, tiled=draw.tiling is not None)
    if not torch.isfinite(low_res).all():
        raise ValueError("the small picture holds NaN or infinite pixels: look at the node that made it")


def _check_size(height: int, width: int, factor: float, *, tiled: bool) -> None:
    pixels, limit = height * width * factor**2, MAX_TILED_PIXELS if tiled else MAX_PIXELS
    if pixels > limit:
        other = "enlarge it from disk to disk (imagen enlarge)" if tiled else "draw it in tiles (tile_size)"
        advice = f"shrink the picture first (Imagen Resize), or {other}"
        raise ValueError(
            f"{width}x{height} pixels {factor:g} times larger are {pixels / 1e6:.0f} megapixels, and {limit / 1e6:.0f} is"
            f" the limit: {advice}"
        )


def _check_jumps(stage: Stage, sampler: Sampler) -> None:
    """A consistency model under a solver draws nonsense, and another network under its sampler a blur."""
    jumps = prediction_of(stage.spec.prediction_type).jumps
    if sampler.jumps != jumps:
        fit = sorted(name for name, each in SAMPLERS.items() if each.jumps == jumps)
        kind = "no consistency model" if sampler.jumps else "a consistency model"
        raise ValueError(f"sampler {sampler.name}: this stage is {kind}; choose {', '.join(fit)}")


def default_thresholding(stage: Stage) -> Thresholding:
    """What a stage is sampled with when nobody says otherwise: as its checkpoint asks, or as its space does."""
    asked = stage.spec.defaults
    if "thresholding" in asked:
        limit = {"limit": asked["threshold_limit"]} if "threshold_limit" in asked else {}
        return make_thresholding(asked["thresholding"], **limit)
    if "percentile" not in asked:
        return stage.spec.space.thresholding()
    return DynamicThresholding(percentile=asked["percentile"], maximum=asked.get("threshold_maximum"))


def default_spacing(stage: Stage, sampler: Sampler, steps: int) -> str:
    """The checkpoint's spacing, if it was chosen for this sampler and this many steps; else the sampler's own."""
    asked = stage.spec.defaults
    chosen = asked.get("spacing") if asked.get("sampler") == sampler.name else None
    if (counts := listed(chosen)) and sum(counts) != steps:
        return sampler.default_spacing
    return chosen or sampler.default_spacing


def _others(draw: Draw, told: Callable[[Stage], dict[str, Signals]]) -> Others:
    """The branches that other stages answer, each told in its own way what the guided one is told."""
    stages = {name: stage for guidance in draw.guidances for name, stage in guidance.others.items()}
    return {name: (tiled(stage.predictor, draw.tiling), told(stage)["cond"]) for name, stage in stages.items()}


def denoiser_of(
    stage: Stage,
    told: Callable[[Stage], dict[str, Signals]],
    prompt: Prompt | TypedPrompt | None,
    draw: Draw,
    count: int,
    size: tuple[int, int],
) -> Denoiser:
    """One run's `denoise` for `count` pictures of a size (height, width). told: what a stage is told, by branch."""
    _check_jumps(stage, draw.sampler)
    return Denoiser(
        tiled(stage.predictor, draw.tiling),
        controlled(draw.controls, stage, prompt, told(stage), count, size),
        guidance=draw.guidances,
        thresholding=draw.thresholding or default_thresholding(stage),
        others=_others(draw, told),
    )


def times_of(stage: Stage, draw: Draw) -> Tensor:
    """When the network is called: (n,) float64, strictly decreasing."""
    spacing = draw.spacing or default_spacing(stage, draw.sampler, draw.steps)
    return draw.sampler.times(stage.schedule, draw.steps, spacing)


def _started(x_T: Tensor, draw: Draw, stage: Stage) -> Tensor:
    """The noise to start from: the seeds', at its temperature, or what `draw` brings in its place."""
    if draw.x_T is None:
        return x_T * (draw.temperature or stage.spec.defaults.get("temperature", 1.0))
    if draw.x_T.shape != x_T.shape:
        raise ValueError(
            f"the noise to start from is {tuple(draw.x_T.shape)}, and pictures of {tuple(x_T.shape)} are drawn: ask for "
            "as many, of its size"
        )
    return to_device(draw.x_T, stage)


def previewing(callback: Callback | None, space: Space) -> Callback | None:
    """The callback, shown what can be looked at."""
    if callback is None or space.holds_pictures:
        return callback
    return lambda step, total, prediction: callback(step, total, replace(prediction, x_0=space.preview(prediction.x_0)))


def _run(
    stage: Stage,
    told: Callable[[Stage], dict[str, Signals]],
    prompt: Prompt | TypedPrompt | None,
    draw: Draw,
    x_T: Tensor,
    noise: BatchNoise,
) -> Tensor:
    """Noise, and perhaps a picture to start from, to a clean picture: the one run that every role shares.

    told: what a stage is told, by branch.
    """
    if draw.init is not None and not stage.spec.space.holds_pictures:
        raise ValueError(f"a stage that draws {stage.spec.space.name} cannot start from a picture: take init_image out")
    x_T = _started(x_T, draw, stage)
    denoise = denoiser_of(stage, told, prompt, draw, len(x_T), tuple(x_T.shape[-2:]))
    times = times_of(stage, draw)
    callback = previewing(draw.callback, stage.spec.space)
    run = {"noise": lambda: noise(tuple(x_T.shape[1:]), stage.device), "callback": callback}
    if draw.init is None:
        x_0 = draw.sampler.sample(denoise, x_T, times, **run)
    else:
        fitted = draw.init.fitted(len(x_T), tuple(x_T.shape[-2:]), stage.device)
        x_0 = sample_from(fitted, draw.sampler, denoise, x_T, times, **run)
    return stage.spec.space.finish(x_0)
