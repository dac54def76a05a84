"""How is the guidance of any MODEL of ComfyUI changed? Through its own hooks, on a clone that shares the weights.

Imported only under ComfyUI, when a model is patched.
"""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...imagen_core import GuidedThresholding, in_interval, progress_at, rescale_guidance


def space_of(model: ModelPatcher) -> str:
    """ "pixel" for models whose "latents" are pictures in [-1, 1] as they are (Chroma Radiance, our own), else "latent"."""
    found = model.get_model_object("latent_format")
    return "pixel" if found.latent_channels == 3 and found.scale_factor == 1.0 else "latent"


def with_thresholding(model: ModelPatcher, thresholding: GuidedThresholding) -> ModelPatcher:
    """The model with its x_0 thresholded after guidance at every step."""

    def after_guidance(args):
        return thresholding(
            args["denoised"],
            args["cond_denoised"],
            _unconditional(args),
            guidance_scale=args["cond_scale"],
            progress=progress_at(float(args["sigma"].max()), args["model"].model_sampling.percent_to_sigma),
        )

    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(after_guidance)
    return patched


def with_guidance(model: ModelPatcher, *, start: float, end: float, rescale: float) -> ModelPatcher:
    """The model guided only from `start` to `end` (0 noise, 1 picture), its contrast pulled back by `rescale`."""
    if not start <= end:
        raise ValueError(f"guidance from {start} to {end} is guidance nowhere: give start at most end")

    def one_step(executor, x, timestep, *args, **kwargs):
        """Elsewhere the step runs as at cfg 1, for which ComfyUI leaves the unconditional pass out."""
        guider, sigma = executor.class_obj, float(timestep.max())
        progress = progress_at(sigma, guider.inner_model.model_sampling.percent_to_sigma)
        if in_interval(progress, start, end) or not hasattr(guider, "cfg"):
            return executor(x, timestep, *args, **kwargs)
        asked, guider.cfg = guider.cfg, 1.0
        try:
            return executor(x, timestep, *args, **kwargs)
        finally:
            guider.cfg = asked

    def after_guidance(args):
        if _unconditional(args) is None:
            return args["denoised"]
        return rescale_guidance(args["denoised"], args["cond_denoised"], rescale)

    patched = model.clone()
    if (start, end) != (0.0, 1.0):
        patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "imagen_guidance_interval", one_step)
    if rescale > 0.0:
        patched.set_model_sampler_post_cfg_function(after_guidance)
    return patched


def _unconditional(args: dict) -> Tensor | None:
    """The unconditional x_0, or None where that pass was left out: ComfyUI then hands zeros."""
    return None if args["uncond"] is None else args["uncond_denoised"]
