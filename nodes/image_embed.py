"""ImagenImageEmbed: what CLIP sees in pictures, as the embeddings that a decoder draws from."""

from ..imagen_core import image_embeds
from . import _host, _sockets


class ImagenImageEmbed:
    DISPLAY_NAME = "Imagen Image Embed"
    DESCRIPTION = (
        "Turns pictures into CLIP embeddings, from which a decoder draws variations: what they show stays, how it is drawn "
        "is new. Give it a CLIP and pictures, or what ComfyUI's CLIP Vision Encode made of them."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["variations", "unclip", "karlo", "dall-e 2", "clip vision encode", "image to embedding"]
    FUNCTION = "embed"
    RETURN_TYPES = (_sockets.IMAGE_EMBED,)
    RETURN_NAMES = ("image_embed",)
    OUTPUT_TOOLTIPS = ("One embedding a picture, for Imagen unCLIP Conditioning or Imagen Mix Embeds.",)

    @classmethod
    def INPUT_TYPES(cls):
        clip_tip = "From Imagen Load CLIP: the CLIP that the decoder was trained with, ViT-L/14 for Karlo."
        seen_tip = "In place of clip and image: from ComfyUI's CLIP Vision Encode, with the same ViT-L/14."
        return {
            "required": {},
            "optional": {
                "clip": (_sockets.CLIP, {"tooltip": clip_tip}),
                "image": (_sockets.IMAGE, {"tooltip": "Pictures of any size. CLIP sees the square in the middle."}),
                "clip_vision_output": (_sockets.CLIP_VISION_OUTPUT, {"tooltip": seen_tip}),
            },
        }

    def embed(self, clip=None, image=None, clip_vision_output=None):
        if clip_vision_output is not None:
            return (_host.image_embeds_of(clip_vision_output),)
        if clip is None or image is None:
            raise ValueError("connect a clip and an image, or a clip_vision_output")
        with _host.computing(clip):
            return (image_embeds(clip, _host.image_to_core(image)),)
