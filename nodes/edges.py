"""ImagenEdges: the lines of a picture, as a hint for a control."""

from ..imagen_core import HINTS, resize_longest_side, settings_of
from . import _host, _sockets

LINES = {name: hint for name, hint in HINTS.items() if hint.resizing == "lines"}
DEFAULTS = {name: default for name, (default, _) in settings_of(HINTS["edges"]).items()}


class ImagenEdges:
    DISPLAY_NAME = "Imagen Edges"
    DESCRIPTION = (
        "Finds the lines of a picture, white on black, as a hint for Imagen Control; without any network or download. "
        "edges is Canny, as in scikit-image; soft_edges shows how strong each is; scribble draws large outlines with a "
        "thick pen."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["canny", "edge detection", "preprocessor", "hed", "soft edge", "scribble", "lineart"]
    FUNCTION = "find"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The lines, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        def threshold(name, tooltip):
            limits = {"min": 0.0, "max": 4.0, "step": 0.01}
            return ("FLOAT", {"default": DEFAULTS[name], **limits, "advanced": True, "tooltip": tooltip})

        size_tip = (
            "The picture is brought to this longer side first: lines are found as they will be drawn. 64 suits the "
            "base, 256 and 1024 the super-resolution stages; 0 keeps the picture's size."
        )
        return {
            "required": {
                "image": (_sockets.IMAGE, {"tooltip": "The picture whose lines are wanted. Alpha is ignored."}),
                "lines": (
                    list(LINES),
                    {
                        "default": "edges",
                        "tooltip": "edges: thin, Canny's. soft_edges: brighter where more changes. scribble: few and "
                        "thick.",
                    },
                ),
                "longest_side": ("INT", {"default": 64, "min": 0, "max": 4096, "tooltip": size_tip}),
            },
            "optional": {
                "low_threshold": threshold(
                    "low",
                    "edges only: how strong a line must be to go on from a stronger one, as Sobel's operator measures "
                    "it: a step from black to white is 4.",
                ),
                "high_threshold": threshold(
                    "high", "edges only: how strong it must be to begin. Higher leaves out texture and shadows."
                ),
                "sigma": (
                    "FLOAT",
                    {
                        "default": DEFAULTS["sigma"],
                        "min": 0.0,
                        "max": 16.0,
                        "step": 0.1,
                        "advanced": True,
                        "tooltip": "edges and soft_edges: how much the picture is blurred first, in pixels.",
                    },
                ),
            },
        }

    def find(
        self,
        image,
        lines,
        longest_side,
        low_threshold=DEFAULTS["low"],
        high_threshold=DEFAULTS["high"],
        sigma=DEFAULTS["sigma"],
    ):
        picture = _host.image_to_core(image)
        if longest_side:
            picture = resize_longest_side(picture, longest_side)
        settings = {
            "edges": {"low": low_threshold, "high": high_threshold, "sigma": sigma},
            "soft_edges": {"sigma": sigma},
        }
        return (_host.image_from_core(LINES[lines](**settings.get(lines, {}))(picture)),)
