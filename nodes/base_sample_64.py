"""ImagenBaseSample64: noise and a prompt become a 64x64 picture."""

from ..imagen_core import sample_base
from . import _host, _sampling_inputs, _sockets


class ImagenBaseSample64:
    DISPLAY_NAME = "Imagen Base Sample 64"
    DESCRIPTION = (
        "Draws the small first picture from the prompt by diffusion with classifier-free guidance. "
        "What the picture shows is decided here; the super-resolution stages add detail. With init_image it redraws a "
        "picture (img2img), with a mask as well only a part of it (inpainting)."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["ksampler", "sampler", "text to image", "base model", "cfg", "img2img", "inpaint", "repaint"]
    FUNCTION = "sample"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures, 64x64 by default. Connect them to Imagen Super Resolution.",)

    @classmethod
    def INPUT_TYPES(cls):
        side = {"default": 64, "min": 0, "max": 1024, "step": 4, "advanced": True}
        side_tip = (
            "In pixels; 0: as the stage was trained, 64 for imagen-mini and DeepFloyd IF. Sizes other than its own are a "
            "gamble."
        )
        scale_tip = (
            "How strongly the prompt pulls (the paper's w; cfg elsewhere). 1 is off and twice as fast; 1.5 suits "
            "imagen-mini, larger models take 3 to 7. Higher follows the prompt with less variety."
        )
        return {
            "required": {
                "unet": (
                    _sockets.UNET,
                    {"tooltip": "A stage that draws from text, such as things64, from Imagen Load U-Net."},
                ),
                "text": (_sockets.TEXT, {"tooltip": "The prompt, from Imagen Text Encode."}),
                "seed": _sampling_inputs.seed_input(),
                "steps": _sampling_inputs.steps_input(20),
                "guidance_scale": _sampling_inputs.guidance_scale_input(2.0, scale_tip),
                "sampler": _sampling_inputs.sampler_input(),
                "width": ("INT", {**side, "tooltip": side_tip}),
                "height": (
                    "INT",
                    {**side, "tooltip": side_tip},
                ),
                "batch_size": _sampling_inputs.batch_size_input(),
            },
            "optional": {**_sampling_inputs.optional_inputs(), **_sampling_inputs.options_input()},
        }

    def sample(self, unet, text, width, height, **drawn):
        _sampling_inputs.check_space(unet, pictures=True)
        draw = _sampling_inputs.draw_of(**drawn)
        height, width = height or unet.spec.native_side, width or unet.spec.native_side
        unet = _sampling_inputs.loaded(unet, [text], draw, height, width)
        return (_host.image_from_core(sample_base(unet, text, draw, height=height, width=width)),)
