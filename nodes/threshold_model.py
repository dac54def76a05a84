"""ImagenThresholdModel: dynamic thresholding for any MODEL of the host."""

from ..imagen_core import GuidedThresholding
from . import _sockets
from ._model_inputs import model_input, share_input


class ImagenThresholdModel:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen Threshold Model"
    DESCRIPTION = (
        "Dynamic thresholding for any model (SD, SDXL, Flux, Chroma Radiance): high cfg without burned colours. On models "
        "that draw in pixels it is Imagen's own formula (section 2.3). In latents, where no value is the brightest one, the "
        "range of what mimic_scale would have predicted is kept. Connect it between the model and KSampler."
    )
    CATEGORY = "imagen/patches"
    SEARCH_ALIASES = [
        "dynamic thresholding",
        "cfg fix",
        "mimic",
        "mimic scale",
        "cfg scale fix",
        "burned colours",
        "oversaturation",
        "clip x0",
    ]
    FUNCTION = "patch"
    RETURN_TYPES = (_sockets.MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The same model, thresholded after guidance at every step. Its weights are not copied.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": model_input("Any model: from a checkpoint loader, after LoRAs, or from Imagen To Model."),
                "mimic_scale": (
                    "FLOAT",
                    {
                        "default": 7.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.1,
                        "tooltip": "Latent models: the cfg whose range of values is kept, whatever cfg the sampler has. The "
                        "cfg at which your model's colours still look right: 7 for SD and SDXL, 3 to 4 for Flux with real "
                        "cfg. Lower is flatter. At a cfg no higher than this nothing is changed. Pixel models have a range "
                        "of their own and do not need it.",
                    },
                ),
                "percentile": (
                    "FLOAT",
                    {
                        "default": 99.5,
                        "min": 50.0,
                        "max": 100.0,
                        "step": 0.1,
                        "tooltip": "Dynamic only, in percent: which of the largest values is brought to the edge of the "
                        "range. 99.5 is the paper's value. Lower greys the picture sooner, 100 follows the single most "
                        "extreme value.",
                    },
                ),
                "method": (
                    ["dynamic", "static", "none"],
                    {
                        "default": "dynamic",
                        "tooltip": "dynamic: scale the values back, then clip; keeps contrast and detail at high cfg. "
                        "static: only clip. none: change nothing, to compare.",
                    },
                ),
                "channels": (
                    ["joint", "per_channel"],
                    {
                        "default": "joint",
                        "advanced": True,
                        "tooltip": "joint: one range for the whole picture, as in the paper; keeps colours in proportion. "
                        "per_channel: each channel by itself; stronger, good where one colour floods the picture.",
                    },
                ),
                "space": (
                    ["auto", "pixel", "latent"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "auto: pixel for models with three unscaled channels (Chroma Radiance, Imagen), latent "
                        "for all others. pixel: the paper's thresholding in [-1, 1]. latent: by mimic_scale.",
                    },
                ),
                "maximum": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "advanced": True,
                        "max": 100.0,
                        "step": 0.1,
                        "tooltip": "Dynamic only: the most that values are divided by; what is still out of range is "
                        "clipped. 0 sets no limit, 1 is static, 1.5 leaves some punch.",
                    },
                ),
                "start": share_input(
                    0.0, "Where thresholding begins, on the way from noise (0) to picture (1).", advanced=True
                ),
                "end": share_input(
                    1.0, "Where it ends. 0.8 leaves the last, finest steps as the model wants them.", advanced=True
                ),
                "curve": (
                    ["constant", "linear", "cosine"],
                    {
                        "default": "constant",
                        "advanced": True,
                        "tooltip": "How its strength runs from start to end. constant: full throughout. linear, cosine: "
                        "fading to none at end, which leaves late detail more contrast.",
                    },
                ),
            }
        }

    def patch(self, model, mimic_scale, percentile, method, channels, space, maximum, start, end, curve):
        from ._host import patches  # ComfyUI's own modules, which other hosts do not have

        thresholding = GuidedThresholding(
            method=method,
            space=patches.space_of(model) if space == "auto" else space,
            percentile=percentile / 100.0,
            maximum=maximum or None,
            per_channel=channels == "per_channel",
            mimic_scale=mimic_scale,
            start=start,
            end=end,
            curve=curve,
        )
        return (patches.with_thresholding(model, thresholding),)
