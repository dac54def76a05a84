"""ImagenTile: a picture without its detail, as a hint for a control."""

from ..imagen_core import HINTS
from . import _host, _sockets


class ImagenTile:
    DISPLAY_NAME = "Imagen Tile"
    DESCRIPTION = (
        "Blurs a picture by shrinking and growing it, as a hint for Imagen Control: shapes and colours stay, the "
        "detail is drawn anew. Without any network or download."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["tile", "blur", "preprocessor", "low quality"]
    FUNCTION = "find"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The blurred picture, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        tip = "How many times it is shrunk. 4 keeps shapes, 8 only colours and places, 1 keeps everything."
        return {
            "required": {
                "image": (_sockets.IMAGE, {"tooltip": "The picture to be blurred. Alpha is ignored."}),
                "shrink": ("FLOAT", {"default": 4.0, "min": 1.0, "max": 64.0, "step": 0.5, "tooltip": tip}),
            }
        }

    def find(self, image, shrink):
        return (_host.image_from_core(HINTS["tile"](shrink=shrink)(_host.image_to_core(image))),)
