"""ImagenKeyPoints: where an identity stands, which way it faces, and how large it is, drawn as five discs."""

import torch

from ..imagen_core import draw_key_points
from . import _host, _sockets


class ImagenKeyPoints:
    DISPLAY_NAME = "Imagen Key Points"
    DESCRIPTION = (
        "Five coloured discs on black that say how an identity stands: its centre, front and back, left and right. For the "
        "key_points input of Imagen Identity. Nothing is looked at for them: you say where."
    )
    CATEGORY = "imagen/hints"
    SEARCH_ALIASES = ["keypoints", "kps", "draw kps", "instantid", "pose", "landmarks", "position"]
    FUNCTION = "draw"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("key_points",)
    OUTPUT_TOOLTIPS = ("The discs, for the key_points input of Imagen Identity.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.01}
        side = {"default": 64, "min": 16, "max": 1024, "step": 8}
        return {
            "required": {
                "x": (
                    "FLOAT",
                    {"default": 0.5, **share, "tooltip": "The centre across: 0 is the left border, 1 the right."},
                ),
                "y": (
                    "FLOAT",
                    {"default": 0.5, **share, "tooltip": "The centre down: 0 is the upper border, 1 the lower."},
                ),
                "angle": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": -360.0,
                        "max": 360.0,
                        "step": 1.0,
                        "tooltip": "Where its front points, in degrees: 0 to the right, 90 down, 180 to the left, -90 up.",
                    },
                ),
                "size": (
                    "FLOAT",
                    {
                        "default": 0.6,
                        "min": 0.1,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "Its length from back to front, of the picture's shorter side. Those that are trained "
                        "on have 0.42 to 0.8.",
                    },
                ),
                "width": (
                    "INT",
                    {**side, "tooltip": "Pixels, as the picture that is to be drawn has: 64 suits the base."},
                ),
                "height": ("INT", {**side, "tooltip": "The same of its height."}),
            }
        }

    def draw(self, x, y, angle, size, width, height):
        pose = (torch.tensor([float(value)]) for value in (x, y, angle, size))
        return (_host.image_from_core(draw_key_points(*pose, height=height, width=width)),)
