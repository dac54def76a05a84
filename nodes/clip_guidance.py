"""ImagenCLIPGuidance: a guidance towards what a CLIP finds like a sentence."""

from ..imagen_core import make_guidance
from . import _host, _sockets


class ImagenCLIPGuidance:
    DISPLAY_NAME = "Imagen CLIP Guidance"
    DESCRIPTION = (
        "Pulls every step's picture towards what a CLIP finds like a sentence (as in GLIDE), beside the sampler's own "
        "guidance or, at guidance_scale 1, in its place. Also for stages that read no text. A step costs one pass of CLIP "
        "forwards and backwards more."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["clip guidance", "clip guided diffusion", "glide", "classifier guidance"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.GUIDANCE,)
    RETURN_NAMES = ("guidance",)
    OUTPUT_TOOLTIPS = ("Both guidances, for a sampler's guidance input.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {
                "clip": (_sockets.CLIP, {"tooltip": "From Imagen Load CLIP."}),
                "text": (
                    "STRING",
                    {"default": "", "multiline": True, "tooltip": "The sentence. It may differ from the prompt."},
                ),
                "scale": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 1000.0,
                        "step": 0.1,
                        "tooltip": "How strong the pull is. 0 is off, 1 CLIP's own logit; too much draws patterns that "
                        "please CLIP and nobody else.",
                    },
                ),
                "start": (
                    "FLOAT",
                    {"default": 0.0, **share, "tooltip": "Where it begins, on the way from noise (0) to picture (1)."},
                ),
                "end": (
                    "FLOAT",
                    {"default": 1.0, **share, "tooltip": "Where it ends. 0.8 leaves the finest detail to the network."},
                ),
            },
            "optional": {
                "guidance": (
                    _sockets.GUIDANCE,
                    {"tooltip": "From Imagen Guidance or another: to add this one to. Without it, classifier-free."},
                ),
            },
        }

    def make(self, clip, text, scale, start, end, guidance=None):
        first = make_guidance(scale=1.0) if guidance is None else guidance
        others = first if isinstance(first, tuple) else (first,)
        with _host.computing(clip):
            wanted = clip.embed_texts([text])
        pull = make_guidance("clip", scale=scale, start=start, end=end, clip=clip, text=wanted)
        return ((*others, pull),)
