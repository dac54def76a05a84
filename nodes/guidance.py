"""ImagenGuidance: how the prompt's and the null prompt's predictions are combined."""

from ..imagen_core import make_guidance
from . import _sockets

SHARE = {"min": 0.0, "max": 1.0, "step": 0.01}


class ImagenGuidance:
    DISPLAY_NAME = "Imagen Guidance"
    DESCRIPTION = (
        "How guidance is applied; its strength is the sampler's own guidance_scale. Without this node samplers use plain "
        "classifier-free guidance at every step."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["cfg", "classifier-free guidance", "apg", "rescale cfg", "limited interval"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.GUIDANCE,)
    RETURN_NAMES = ("guidance",)
    OUTPUT_TOOLTIPS = ("The guidance, for a sampler's guidance input.",)

    @classmethod
    def INPUT_TYPES(cls):
        def number(default, tooltip, **limits):
            return ("FLOAT", {"default": default, **SHARE, **limits, "tooltip": tooltip})

        return {
            "required": {
                "method": (
                    ["classifier_free", "apg"],
                    {
                        "default": "classifier_free",
                        "tooltip": "classifier_free: the paper's. apg: adaptive projected guidance, which leaves out the "
                        "part of the pull that only raises contrast; good at high scales.",
                    },
                ),
                "start": number(
                    0.0,
                    "Where guidance begins, as a share of the way from noise (0) to picture (1). 0.1 keeps variety; "
                    "outside the interval a step costs half.",
                ),
                "end": number(1.0, "Where guidance ends. 0.8 saves time at little cost; 1 guides to the end."),
                "rescale": number(
                    0.0, "classifier_free only: pulls the contrast back to the unguided one. 0 is off, 0.7 is usual."
                ),
                "eta": number(
                    0.0,
                    "apg only: how much of the contrast-raising part is kept. 0 drops it, 1 is plain guidance.",
                    advanced=True,
                ),
                "momentum": number(
                    0.0,
                    "apg only: weight of the steps before. -0.5 is the paper's, 0 is off.",
                    advanced=True,
                    min=-0.95,
                    max=0.95,
                ),
                "norm_threshold": number(
                    0.0,
                    "apg only: the longest pull, measured over the whole picture. 0 is no limit; 5 to 15 suit 64x64.",
                    advanced=True,
                    max=1000.0,
                    step=0.5,
                ),
            }
        }

    def make(self, method, start, end, rescale, eta, momentum, norm_threshold):
        interval = {"start": start, "end": end}
        projected = {"eta": eta, "momentum": momentum, "norm_threshold": norm_threshold}
        return (make_guidance(method, scale=1.0, rescale=rescale, **interval, **projected),)
