"""ImagenSketch: what was painted in the mask editor, as a hint for a control."""

from ..imagen_core import strokes_to_lines
from . import _host, _sockets


class ImagenSketch:
    DISPLAY_NAME = "Imagen Sketch"
    DESCRIPTION = (
        "Makes a scribble hint of a mask: draw the outlines of what you want in the mask editor (right-click Load Image, "
        "Open in MaskEditor), connect the mask here, and the hint to Imagen Control."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["scribble", "draw", "mask to image", "paint", "doodle", "sketch to image", "preprocessor"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The strokes, white on black, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        size_tip = (
            "The strokes are brought to this longer side, at which no thin one is lost. 64 suits the base, 256 and 1024 the "
            "super-resolution stages; 0 keeps the mask's size."
        )
        return {
            "required": {
                "mask": (_sockets.MASK, {"tooltip": "The strokes: white, or what was painted in the mask editor."}),
                "longest_side": ("INT", {"default": 64, "min": 0, "max": 4096, "tooltip": size_tip}),
            }
        }

    def make(self, mask, longest_side):
        strokes = _host.mask_to_core(mask)
        if not bool((strokes > 0.5).any()):
            raise ValueError(
                "this mask is empty: draw the outlines in the mask editor (right-click Load Image, Open in MaskEditor)"
            )
        return (_host.image_from_core(strokes_to_lines(strokes, longest_side)),)
