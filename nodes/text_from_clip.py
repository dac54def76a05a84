"""ImagenTextFromCLIP: a prompt through the T5-XXL that ComfyUI has loaded already."""

from ..imagen_core import typed_prompt
from . import _host, _sockets
from .text_encode import ImagenTextEncode


class ImagenTextFromCLIP:
    DISPLAY_NAME = "Imagen Text From CLIP (T5-XXL)"
    DESCRIPTION = (
        "Encodes a prompt for DeepFloyd IF with the T5-XXL inside a CLIP of ComfyUI's own, as its loaders for SD3 and "
        "Flux give it: one copy in memory serves both. Padded and cut to 77 tokens, under T5's attention mask."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["clip text encode", "t5xxl", "flux", "sd3", "prompt", "deepfloyd if"]
    FUNCTION = "encode"
    NEEDS_COMFYUI = True
    RETURN_TYPES = (_sockets.TEXT,)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("The encoded prompt, for the base sampler and for super-resolution stages that read text.",)

    @classmethod
    def INPUT_TYPES(cls):
        inputs = ImagenTextEncode.INPUT_TYPES()
        tooltip = "A CLIP that holds T5-XXL, from DualCLIPLoader, TripleCLIPLoader or CLIPLoader (type sd3 or pixart)."
        texts = {name: spec for name, spec in inputs["required"].items() if name != "text_encoder"}
        return {"required": {"clip": ("CLIP", {"tooltip": tooltip}), **texts}, "optional": inputs["optional"]}

    def encode(self, clip, text, negative_text, padding="auto", clean_prompt="auto"):
        encoder = _host.text_encoder_of(clip)
        return (typed_prompt(encoder, text, negative_text, padding=padding, clean=clean_prompt),)
