"""ImagenSampleLatents: a stage that draws latents (DiT), for the host's own VAE Decode."""

from ..imagen_core import sample_base
from . import _sampling_inputs, _sockets

SIDE_TIP = "Of the picture, in pixels: eight for each latent. 0: as the stage was trained, 256 or 512 for DiT."


class ImagenSampleLatents:
    DISPLAY_NAME = "Imagen Sample Latents"
    DESCRIPTION = (
        "Draws with a stage whose pictures are latents of Stable Diffusion's VAE, such as DiT. Connect Imagen Latent "
        "To Image, or VAE Decode, with that VAE to see them; Imagen Super Resolution then refines the pixels."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["ksampler", "dit", "latent diffusion", "class conditioning"]
    FUNCTION = "sample"
    RETURN_TYPES = (_sockets.LATENT,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = (
        "For Imagen Latent To Image or VAE Decode, with Stable Diffusion 1's VAE (sd-vae-ft-mse or -ema).",
    )

    @classmethod
    def INPUT_TYPES(cls):
        side = ("INT", {"default": 0, "min": 0, "max": 2048, "step": 8, "advanced": True, "tooltip": SIDE_TIP})
        scale_tip = (
            "Pull of the class, away from none. DiT's pictures were made at 4, its best figures at 1.5; 1 is off."
        )
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "A DiT stage, from Imagen Load U-Net."}),
                "text": (_sockets.TEXT, {"tooltip": "What is asked for, from Imagen Class Label."}),
                "seed": _sampling_inputs.seed_input(),
                "steps": _sampling_inputs.steps_input(50),
                "guidance_scale": _sampling_inputs.guidance_scale_input(4.0, scale_tip),
                "sampler": _sampling_inputs.sampler_input(),
                "width": side,
                "height": side,
                "batch_size": _sampling_inputs.batch_size_input(),
            },
            "optional": {
                "guidance": (_sockets.GUIDANCE, {"tooltip": "From Imagen Guidance: how guidance is applied."}),
                **_sampling_inputs.options_input(),
            },
        }

    def sample(self, unet, text, width, height, **drawn):
        _sampling_inputs.check_space(unet, pictures=False)
        draw = _sampling_inputs.draw_of(**drawn)
        height, width = height or unet.spec.native_side, width or unet.spec.native_side
        unet = _sampling_inputs.loaded(unet, [text], draw, height, width)
        return ({"samples": sample_base(unet, text, draw, height=height, width=width)},)
