"""ImagenResize: a picture brought to the size a stage expects, without shifting it by half a pixel."""

from ..imagen_core import resize_longest_side
from . import _host, _sockets


class ImagenResize:
    DISPLAY_NAME = "Imagen Resize"
    DESCRIPTION = (
        "Brings a picture's longer side to a size, keeping its shape: by area when it shrinks, antialiased bilinear "
        "when it grows, the way the super-resolution stages saw pictures in training."
    )
    CATEGORY = "imagen/image"
    SEARCH_ALIASES = ["downscale", "image scale", "shrink", "area resize"]
    FUNCTION = "resize"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The resized pictures.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": (_sockets.IMAGE, {"tooltip": "Any picture. Alpha is ignored."}),
                "longest_side": (
                    "INT",
                    {
                        "default": 64,
                        "min": 1,
                        "max": 4096,
                        "tooltip": "In pixels, of the longer side: 64 before an sr256 stage, 256 before an sr1024 stage.",
                    },
                ),
            }
        }

    def resize(self, image, longest_side):
        return (_host.image_from_core(resize_longest_side(_host.image_to_core(image), longest_side)),)
