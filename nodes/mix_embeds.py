"""ImagenMixEmbeds: embeddings of pictures mixed with each other, or moved by what two texts differ in."""

from ..imagen_core import MIXINGS, moved_by_texts, read_as_clip
from . import _sockets

MOVE = "text_difference"
METHOD_TIP = (
    "slerp: along the arc between both, as DALL-E 2 mixes them. lerp: in a straight line. text_difference: from the first "
    "towards what text says that from_text does not (a red car, a car)."
)
SHARE_TIP = (
    "How far on the way: 0 leaves the first, 1 is the other. For text_difference 0.25 to 0.5; more leaves the picture."
)


class ImagenMixEmbeds:
    DISPLAY_NAME = "Imagen Mix Embeds"
    DESCRIPTION = (
        "Mixes CLIP embeddings of two pictures, whether seen or drawn by a prior, or moves one by the difference of two "
        "texts: the same cat, but in winter. Connect the result to Imagen unCLIP Conditioning."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["slerp", "interpolate", "blend images", "text diff", "unclip", "karlo", "dall-e 2"]
    FUNCTION = "mix"
    RETURN_TYPES = (_sockets.IMAGE_EMBED,)
    RETURN_NAMES = ("image_embed",)
    OUTPUT_TOOLTIPS = ("The embeddings mixed, for Imagen unCLIP Conditioning.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image_embed": (
                    _sockets.IMAGE_EMBED,
                    {"tooltip": "The first, from Imagen Prior Sample, Imagen Image Embed or another of these."},
                ),
                "method": ([*MIXINGS, MOVE], {"default": "slerp", "tooltip": METHOD_TIP}),
                "t": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": SHARE_TIP}),
            },
            "optional": {
                "other": (
                    _sockets.IMAGE_EMBED,
                    {"tooltip": "For slerp and lerp: the other, of the same CLIP. One, or as many as the first."},
                ),
                "text": (
                    _sockets.TEXT,
                    {"tooltip": "For text_difference: what it shall become, by the text encoder of the same CLIP."},
                ),
                "from_text": (_sockets.TEXT, {"tooltip": "For text_difference: what it is now, by the same encoder."}),
            },
        }

    def mix(self, image_embed, method, t, other=None, text=None, from_text=None):
        if method != MOVE and other is None:
            raise ValueError(f"{method} mixes two embeddings: connect the second to other")
        if method != MOVE:
            return (MIXINGS[method](image_embed, other, t),)
        if text is None or from_text is None:
            raise ValueError(f"{MOVE} moves by what two prompts differ in: connect text and from_text")
        return (moved_by_texts(image_embed, read_as_clip(text), read_as_clip(from_text), t),)
