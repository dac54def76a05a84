"""ImagenUnCLIPConditioning: a prompt, and beside it the embedding of what is to be seen."""

from ..imagen_core import with_image_embed
from . import _sockets

STRENGTH_TIP = (
    "What the embedding is multiplied by. 1 as the decoder was trained. Embeddings of several of these nodes add up: 0.5 "
    "and 0.5 mix two in equal parts, as lerp of Imagen Mix Embeds does."
)
NOISE_TIP = (
    "How much noise the embedding gets: 0 none, 0.1 to 0.3 lets the picture stray from it, 1 leaves nothing of it. Karlo's "
    "decoder is not told of it."
)


class ImagenUnCLIPConditioning:
    DISPLAY_NAME = "Imagen unCLIP Conditioning"
    DESCRIPTION = (
        "Tells a decoder (Karlo) what is to be seen, as a CLIP embedding from Imagen Prior Sample or Imagen Image Embed, "
        "beside the prompt's words. Goes between the prompt and every node that draws with such a decoder; several chain."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["unclip", "unclipconditioning", "karlo", "dall-e 2", "image variations", "revision"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.TEXT,)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = (
        "The prompt with the embedding, for text of Imagen Base Sample 64, Imagen Redraw or another of these.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        strength = {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.01}
        noise = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01}
        seed_tip = "Of the noise of noise_augmentation. Picture i of a batch uses it + i."
        return {
            "required": {
                "text": (
                    _sockets.TEXT,
                    {
                        "tooltip": "The prompt, from Imagen Text Encode; an empty one where the embedding shall say it all."
                    },
                ),
                "image_embed": (
                    _sockets.IMAGE_EMBED,
                    {"tooltip": "What is to be seen: one embedding, or one for each picture of the batch."},
                ),
                "strength": ("FLOAT", {**strength, "tooltip": STRENGTH_TIP}),
                "noise_augmentation": ("FLOAT", {**noise, "tooltip": NOISE_TIP}),
            },
            "optional": {
                "noise_seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**53 - 1,
                        "control_after_generate": True,
                        "advanced": True,
                        "tooltip": seed_tip,
                    },
                ),
            },
        }

    def make(self, text, image_embed, strength, noise_augmentation, noise_seed=0):
        told = {"strength": strength, "noise_augmentation": noise_augmentation, "seed": noise_seed}
        return (with_image_embed(text, image_embed, **told),)
