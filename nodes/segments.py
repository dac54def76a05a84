"""ImagenSegments: the regions of a picture, whatever their colours, as a hint for a control."""

from ..imagen_core import HINTS, resize_longest_side, settings_of
from . import _host, _sockets

DEFAULTS = {name: default for name, (default, _) in settings_of(HINTS["segments"]).items()}


class ImagenSegments:
    DISPLAY_NAME = "Imagen Segments"
    DESCRIPTION = (
        "Divides a picture into flat regions of like colour, the backdrop black, as a hint for Imagen Control: another "
        "picture is drawn with things in these places, whatever their colours. Without any network or download."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["segmentation", "seg", "mask", "regions", "silhouette", "quantize", "preprocessor"]
    FUNCTION = "find"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The regions, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        groups_tip = (
            "Into how many colours the picture is divided, the backdrop's included. 2 leaves the outline of one thing, "
            "filled; more tell its parts apart."
        )
        size_tip = (
            "The picture is brought to this longer side first: regions are found as they will be drawn. 64 suits the "
            "base, 256 and 1024 the super-resolution stages; 0 keeps the picture's size."
        )
        return {
            "required": {
                "image": (_sockets.IMAGE, {"tooltip": "The picture whose regions are wanted. Alpha is ignored."}),
                "groups": (
                    "INT",
                    {"default": DEFAULTS["groups"], "min": 2, "max": 12, "tooltip": groups_tip},
                ),
                "longest_side": ("INT", {"default": 64, "min": 0, "max": 4096, "tooltip": size_tip}),
            },
            "optional": {
                "sigma": (
                    "FLOAT",
                    {
                        "default": DEFAULTS["sigma"],
                        "min": 0.0,
                        "max": 8.0,
                        "step": 0.1,
                        "advanced": True,
                        "tooltip": "How much the picture is blurred first, in pixels of a picture 64 wide: more leaves "
                        "texture out.",
                    },
                )
            },
        }

    def find(self, image, groups, longest_side, sigma=DEFAULTS["sigma"]):
        picture = _host.image_to_core(image)
        if longest_side:
            picture = resize_longest_side(picture, longest_side)
        return (_host.image_from_core(HINTS["segments"](groups=groups, sigma=sigma)(picture)),)
