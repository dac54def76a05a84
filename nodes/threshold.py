"""ImagenThreshold: how predicted pixels are kept inside the range of a picture."""

from ..imagen_core import THRESHOLDINGS, make_thresholding
from . import _method_inputs, _sockets

METHOD_TIP = (
    "dynamic: rescale by a percentile, keeps contrast at high guidance. static: clip to [-1, 1], saturates. none: nothing, "
    "only for low guidance."
)


class ImagenThreshold:
    DISPLAY_NAME = "Imagen Threshold"
    DESCRIPTION = (
        "High guidance pushes predicted pixels past black and white, and colours burn. Dynamic thresholding (Imagen, "
        "section 2.3) scales the picture back by a percentile of its own pixels at every step; static only clips; "
        "none leaves it alone. Connect it to a sampler to replace what its checkpoint asks for (things64: "
        "static), or else dynamic at 99.5 %."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["dynamic thresholding", "mimic cfg", "clip x0", "burned colours", "oversaturation"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.THRESHOLD,)
    RETURN_NAMES = ("threshold",)
    OUTPUT_TOOLTIPS = ("The thresholding, for a sampler's threshold input.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "method": _method_inputs.method_input(THRESHOLDINGS, "dynamic", METHOD_TIP),
                "percentile": (
                    "FLOAT",
                    {
                        "default": 99.5,
                        "min": 50.0,
                        "max": 100.0,
                        "step": 0.1,
                        "tooltip": "Dynamic only, in percent. 99.5 is the paper's value. Lower greys the picture sooner "
                        "(DeepFloyd IF uses 95), 100 follows the single brightest pixel.",
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
                        "tooltip": "Dynamic only: the threshold never rises above this; 0 sets no limit. 1 is the same "
                        "as static, DeepFloyd IF's first stage uses 1.5.",
                    },
                ),
            },
            "optional": _method_inputs.further_inputs(THRESHOLDINGS, {"percentile", "maximum"}),
        }

    def make(self, method, percentile, maximum, **further):
        values = {"percentile": percentile / 100.0, "maximum": maximum or None, **further}
        return (make_thresholding(method, **_method_inputs.settings_for(THRESHOLDINGS[method], values)),)
