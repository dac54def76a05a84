"""ImagenPalette: where a picture has which colours, as a hint for a control."""

from ..imagen_core import HINTS
from . import _host, _sockets


class ImagenPalette:
    DISPLAY_NAME = "Imagen Palette"
    DESCRIPTION = (
        "The mean colours of a picture on a coarse grid, as a hint for Imagen Control: another picture is drawn in "
        "these colours at these places, whatever its shapes. Without any network or download."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["color palette", "t2i adapter color", "colour", "preprocessor", "pixelate"]
    FUNCTION = "find"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("hint",)
    OUTPUT_TOOLTIPS = ("The cells of colour at the picture's size, for the image input of Imagen Control.",)

    @classmethod
    def INPUT_TYPES(cls):
        tip = (
            "Cells along each side. 8 is what controls are trained on: colours and places, and nothing of shapes; "
            "Imagen Control refuses finer ones."
        )
        return {
            "required": {
                "image": (_sockets.IMAGE, {"tooltip": "The picture whose colours are wanted. Alpha is ignored."}),
                "cells": ("INT", {"default": 8, "min": 1, "max": 64, "tooltip": tip}),
            }
        }

    def find(self, image, cells):
        return (_host.image_from_core(HINTS["palette"](cells=cells)(_host.image_to_core(image))),)
