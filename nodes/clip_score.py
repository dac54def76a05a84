"""ImagenCLIPScore: how well do pictures fit a sentence, and which of a batch fit it best?"""

from ..imagen_core import clip_ranking
from . import _host, _sockets


class ImagenCLIPScore:
    DISPLAY_NAME = "Imagen CLIP Score"
    DESCRIPTION = (
        "Scores each picture of a batch against a sentence (CLIP's cosine), and hands on the best, best first: draw sixteen "
        "and keep four. Scores of one CLIP compare; those of two CLIPs do not."
    )
    CATEGORY = "imagen/image"
    SEARCH_ALIASES = ["clip score", "clipscore", "best of n", "rank", "rerank", "alignment", "sort images", "pick best"]
    FUNCTION = "score"
    RETURN_TYPES = (_sockets.IMAGE, "FLOAT", "FLOAT", "INT")
    RETURN_NAMES = ("image", "scores", "probabilities", "order")
    OUTPUT_IS_LIST = (False, True, True, True)
    OUTPUT_TOOLTIPS = (
        "The best pictures, best first.",
        "Their cosines, in that order: .2 to .35 for pictures that fit, of a real CLIP.",
        "For each, how likely the sentence is beside the ones in `against`; 1 without any.",
        "Where each stood in the batch, counting from 0.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "clip": (_sockets.CLIP, {"tooltip": "From Imagen Load CLIP."}),
                "image": (
                    _sockets.IMAGE,
                    {"tooltip": "The pictures, of any size. CLIP sees the square in the middle."},
                ),
                "text": (
                    "STRING",
                    {"default": "", "multiline": True, "tooltip": "The sentence that the pictures should fit."},
                ),
                "keep": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 4096,
                        "tooltip": "How many of the best are handed on. 0 keeps all.",
                    },
                ),
            },
            "optional": {
                "against": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "advanced": True,
                        "tooltip": "Other sentences, one a line, that the pictures should not fit, such as the same with "
                        "colours swapped. Then the order is by probability among all of them.",
                    },
                ),
            },
        }

    def score(self, clip, image, text, keep, against=""):
        others = [line for line in against.splitlines() if line.strip()]
        with _host.computing(clip):
            found = clip_ranking(clip, _host.image_to_core(image), text, others)
        order = found.order[: keep or None]
        return (image[order], found.scores[order].tolist(), found.probabilities[order].tolist(), order.tolist())
