"""ImagenControl: a hint, and how strongly, when and where a picture follows it."""

from ..imagen_core import CURVES, FITS, HINTS, Control
from . import _host, _sockets

AUTO = "auto"
KIND_TIP = (
    "What the hint is, for a control that reads several kinds. auto tells it from the picture: thin white lines on "
    "black are edges, thick ones a scribble, a coarse grid of colours a palette, flat regions on black segments. "
    "depth looks like others: choose it."
)
FIT_TIP = (
    "Where the hint has other proportions than the picture. pad: all of it is kept and its border repeated. crop: it "
    "is cut about its centre. stretch: it is distorted."
)
NULL_TIP = (
    "Whether the prediction without the prompt follows the hint too. On is usual; off lets guidance pull towards the "
    "hint as well, which follows it more and burns sooner (guess mode elsewhere)."
)


def how_followed() -> dict[str, tuple]:
    """The inputs that say where, as what and on which branch a hint is followed, wherever a control is applied."""
    return {
        "mask": (
            _sockets.MASK,
            {"tooltip": "Where it works: white is followed, black is left to the prompt. Over the whole picture."},
        ),
        "kind": ([AUTO, *HINTS], {"default": AUTO, "advanced": True, "tooltip": KIND_TIP}),
        "fit": (list(FITS), {"default": FITS[0], "advanced": True, "tooltip": FIT_TIP}),
        "apply_to_null": ("BOOLEAN", {"default": True, "advanced": True, "tooltip": NULL_TIP}),
        "curve": (
            list(CURVES),
            {
                "default": CURVES[0],
                "advanced": True,
                "tooltip": "How the strength goes from start_percent to end_percent: constant, or fading out "
                "(linear, cosine).",
            },
        ),
    }


class ImagenControl:
    DISPLAY_NAME = "Imagen Control"
    DESCRIPTION = (
        "Makes a stage follow a hint: edges, a palette, a sketch. Connect it to the control input of Imagen Base "
        "Sample 64 or Imagen Super Resolution. Several are chained by previous, each with its own strength, part of "
        "the way and mask."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["apply controlnet", "controlnet", "t2i-adapter", "canny", "scribble", "sketch", "hint"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.CONTROL,)
    RETURN_NAMES = ("control",)
    OUTPUT_TOOLTIPS = ("This control and those before it, for a sampler's control input.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.001}
        return {
            "required": {
                "control_net": (_sockets.CONTROL_NET, {"tooltip": "From Imagen Load Control."}),
                "image": (
                    _sockets.IMAGE,
                    {
                        "tooltip": "The hint, of any size: from a hint node, another pack's preprocessor, or drawn by "
                        "hand. One, or one for each picture of the batch."
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 10.0,
                        "step": 0.01,
                        "tooltip": "How strongly the picture follows. 1 is as it was trained, 0 is off, 0.5 leaves "
                        "more to the prompt.",
                    },
                ),
                "start_percent": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        **share,
                        "tooltip": "Where it begins, as a share of the schedule from noise (0) to picture (1).",
                    },
                ),
                "end_percent": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        **share,
                        "tooltip": "Where it ends. 0.6 lets the last part of the way draw detail freely.",
                    },
                ),
            },
            "optional": {
                "previous": (_sockets.CONTROL, {"tooltip": "Another Imagen Control: both work, and add up."}),
                **how_followed(),
            },
        }

    def make(
        self,
        control_net,
        image,
        strength,
        start_percent,
        end_percent,
        previous=(),
        mask=None,
        kind=AUTO,
        fit=FITS[0],
        apply_to_null=True,
        curve=CURVES[0],
    ):
        control = Control(
            adapter=control_net,
            picture=_host.image_to_core(image),
            kind=None if kind == AUTO else kind,
            strength=strength,
            start=start_percent,
            end=end_percent,
            curve=curve,
            mask=None if mask is None else _host.mask_to_core(mask),
            apply_to_null=apply_to_null,
            fit=fit,
        )
        if control_net.network.takes_key_points:
            raise ValueError("this file is an identity and follows no hint: connect it to Imagen Identity")
        if not control_net.network.takes_hint:
            raise ValueError("this file is an image prompt and follows no hint: connect it to Imagen Image Prompt")
        return ((*previous, control),)
