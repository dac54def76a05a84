"""ImagenLoadCLIP: a whole CLIP, which tells how alike pictures and sentences are."""

from ..imagen_core import CLIP_ACTIVATIONS, find_clips, load_clip
from . import _host, _sockets

DEFAULT = "imagen-mini/clip"


class ImagenLoadCLIP:
    DISPLAY_NAME = "Imagen Load CLIP"
    DESCRIPTION = (
        "Loads a CLIP with both towers, for Imagen CLIP Score and Imagen CLIP Guidance: imagen-mini's own, which knows the "
        "things that things64 draws and nothing else, or a transformers folder (such as openai/clip-vit-large-patch14), an "
        "OpenCLIP folder, or one .safetensors. Not the CLIP of ComfyUI's own loaders, "
        "which holds the text tower alone."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["clip", "openclip", "open_clip", "vit", "clip vision", "clip score", "load clip"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.CLIP,)
    RETURN_NAMES = ("clip",)
    OUTPUT_TOOLTIPS = ("The CLIP, for Imagen CLIP Score and Imagen CLIP Guidance.",)

    @classmethod
    def INPUT_TYPES(cls):
        names = _host.clip_names(find_clips)
        return {
            "required": {
                "clip": (
                    names,
                    {
                        **({"default": DEFAULT} if DEFAULT in names else {}),
                        "tooltip": "A folder or .safetensors with a text and a vision tower, under models/imagen, "
                        "models/clip_vision, models/text_encoders or models/diffusers; imagen-mini/clip ships with the "
                        "pack. Its tokenizer (tokenizer.json, or vocab.json and merges.txt) lies in the folder, or beside "
                        "the file.",
                    },
                )
            },
            "optional": {
                "activation": (
                    ["auto", *CLIP_ACTIVATIONS],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "quick_gelu: OpenAI's weights. gelu: OpenCLIP's. auto: what a config beside the weights "
                        "says, else told from the file; the wrong one makes every score a little wrong.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, clip, activation="auto"):
        return _host.fingerprint(clip, *_host.CLIP_KINDS)

    def load(self, clip, activation="auto"):
        path = _host.model_path(clip, *_host.CLIP_KINDS)
        return (_host.managed(load_clip(path, tokenizer_places=_host.tokenizer_places(), activation=activation)),)
