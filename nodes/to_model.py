"""ImagenToModel: a stage as a MODEL of the host's own, with its CONDITIONING."""

from . import _host, _sockets


class ImagenToModel:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen To Model"
    DESCRIPTION = (
        "Makes a stage a native MODEL, so that KSampler, SamplerCustom, schedulers, LoRA loaders and other packs' patches "
        "work on Imagen. Its latents are pixels: begin with Imagen Empty Pixels (64x64 for things64), end with Imagen "
        "Pixels To Image. dpmpp_2m with scheduler exponential draws what Imagen Base Sample 64 draws without thresholding; "
        "add Imagen Threshold Model for that."
    )
    CATEGORY = "imagen/native"
    SEARCH_ALIASES = ["ksampler", "native model", "model bridge", "pixel space model", "unet to model"]
    FUNCTION = "convert"
    RETURN_TYPES = (_sockets.MODEL, _sockets.CONDITIONING, _sockets.CONDITIONING)
    RETURN_NAMES = ("model", "positive", "negative")
    OUTPUT_TOOLTIPS = (
        "The stage as a native model, for KSampler. The loaded stage itself stays as it is, whatever is patched here.",
        "The prompt, and for super-resolution the small picture: KSampler's positive.",
        "The null prompt, or the negative one: KSampler's negative.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "Any stage, from Imagen Load U-Net."}),
                "aug_level": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "Super-resolution only: noise put on the small picture once. 0 keeps to it, 0.1 to 0.3 "
                        "invents more detail, above 0.5 restyles.",
                    },
                ),
                "aug_seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "advanced": True,
                        "max": 2**53 - 1,
                        "tooltip": "Super-resolution only: which noise aug_level puts on the small picture. KSampler's seed "
                        "here draws what Imagen Super Resolution draws with that seed.",
                    },
                ),
            },
            "optional": {
                "text": (
                    _sockets.TEXT,
                    {"tooltip": "The prompt, from Imagen Text Encode; stages that draw from text need one."},
                ),
                "low_res": (
                    _sockets.IMAGE,
                    {"tooltip": "Super-resolution only: the small picture. It is enlarged to the size of the latent."},
                ),
                "control": (
                    _sockets.CONTROL,
                    {
                        "tooltip": "From Imagen Control or Imagen Image Prompt: positive and negative bring it along, with "
                        "its percents, mask and all that is chained."
                    },
                ),
            },
        }

    def convert(self, unet, aug_level, aug_seed, text=None, low_res=None, control=()):
        from ._host import native_model  # ComfyUI's own modules, which other hosts do not have

        picture = None if low_res is None else _host.image_to_core(low_res)
        positive, negative = native_model.conditionings(unet, text, picture, aug_level, aug_seed, control)
        return (native_model.native_model(unet), positive, negative)
