"""ImagenSuperRes: any picture, a few times larger, by diffusion."""

from ..imagen_core import super_resolve
from . import _host, _sampling_inputs, _sockets


class ImagenSuperRes:
    DISPLAY_NAME = "Imagen Super Resolution"
    DESCRIPTION = (
        "Enlarges a picture by diffusion: 64 to 256 with an sr256 stage, 256 to 1024 with an sr1024 stage. The picture "
        "may come from any node. aug_level says how far the network may depart from it. With init_image and a mask, "
        "everything outside the mask stays as it was in init_image (inpainting). Large pictures: set tile_size."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = [
        "upscale",
        "super resolution",
        "enlarge",
        "efficient unet",
        "aug_level",
        "inpaint",
        "img2img",
        "tiled",
        "4k",
    ]
    FUNCTION = "sample"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The enlarged pictures.",)

    @classmethod
    def INPUT_TYPES(cls):
        scale_tip = "Pull of the prompt, for stages that read one. 1 is off and twice as fast; the paper went up to 8."
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "An sr256 or sr1024 stage, from Imagen Load U-Net."}),
                "image": (_sockets.IMAGE, {"tooltip": "The small picture, of any size. Alpha is ignored."}),
                "aug_level": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "Noise conditioning augmentation: noise put on the small picture once. 0 keeps to it, "
                        "0.1 to 0.3 invents more detail and repairs artefacts, above 0.5 restyles.",
                    },
                ),
                "factor": (
                    "INT",
                    {
                        "default": 4,
                        "min": 1,
                        "max": 8,
                        "advanced": True,
                        "tooltip": "How many times larger. The stages were trained at 4. 1 only restores detail.",
                    },
                ),
                "seed": _sampling_inputs.seed_input(),
                "steps": _sampling_inputs.steps_input(8),
                "guidance_scale": _sampling_inputs.guidance_scale_input(1.0, scale_tip),
                "sampler": _sampling_inputs.sampler_input(),
            },
            "optional": {
                "text": (
                    _sockets.TEXT,
                    {"tooltip": "The prompt, for stages that read text; imagen-mini's super-resolution needs none."},
                ),
                **_sampling_inputs.optional_inputs(),
                **_sampling_inputs.tiling_inputs(),
                **_sampling_inputs.options_input(),
            },
        }

    def sample(self, unet, image, aug_level, factor, text=None, tile_size=0, overlap=64, **drawn):
        low_res = _host.image_to_core(image)
        draw = _sampling_inputs.draw_of(batch_size=len(low_res), **drawn)
        draw = _sampling_inputs.in_tiles(draw, tile_size, overlap)
        height, width = (side * factor for side in low_res.shape[-2:])
        unet = _sampling_inputs.loaded(unet, [text], draw, height, width)
        return (_host.image_from_core(super_resolve(unet, low_res, text, draw, aug_level=aug_level, factor=factor)),)
