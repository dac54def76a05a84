"""ImagenDepthHint: a picture of depth, from wherever, as a hint for a control."""

from ..imagen_core import HINTS, resize_longest_side, settings_of
from . import _host, _sockets

DEFAULTS = {name: default for name, (default, _) in settings_of(HINTS["depth"]).items()}


class ImagenDepthHint:
    DISPLAY_NAME = "Imagen Depth Hint"
    DESCRIPTION = (
        "Brings a picture of depth to the whole range from black, far, to white, near, as a hint for Imagen Control: "
        "another picture is drawn with things as near as these. The picture of depth comes from an estimator's node (MiDaS, "
        "Depth Anything, Marigold), a renderer's depth pass, or your brush; this node reads none from a photograph."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["depth map", "midas", "depth anything", "z pass", "zoe", "normalize depth", "preprocessor"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The depths, near things white, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        depth_tip = (
            "A picture of depth: its brightness says how near what it shows is. Colours are read as their brightness."
        )
        invert_tip = (
            "On where dark is near, as in most depth passes of renderers; off where white is near, as MiDaS and Depth "
            "Anything draw it."
        )
        size_tip = (
            "The picture is brought to this longer side first. 64 suits the base, 256 and 1024 the super-resolution "
            "stages; 0 keeps the picture's size."
        )

        def share(name, tooltip):
            limits = {"min": 0.0, "max": 0.49, "step": 0.005}
            return ("FLOAT", {"default": DEFAULTS[name], **limits, "advanced": True, "tooltip": tooltip})

        return {
            "required": {
                "depth": (_sockets.IMAGE, {"tooltip": depth_tip}),
                "invert": ("BOOLEAN", {"default": DEFAULTS["inverted"], "tooltip": invert_tip}),
                "longest_side": ("INT", {"default": 64, "min": 0, "max": 4096, "tooltip": size_tip}),
            },
            "optional": {
                "far": share(
                    "far", "The share of the pixels that become black: stray far ones stretch the range no more."
                ),
                "near": share("near", "The share of the pixels that become white."),
            },
        }

    def make(self, depth, invert, longest_side, far=DEFAULTS["far"], near=DEFAULTS["near"]):
        picture = _host.image_to_core(depth)
        if longest_side:
            picture = resize_longest_side(picture, longest_side)
        return (_host.image_from_core(HINTS["depth"](inverted=invert, far=far, near=near)(picture)),)
