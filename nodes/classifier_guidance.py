"""ImagenClassifierGuidance: a guidance towards what a noisy classifier calls a class."""

from ..imagen_core import labels_of, make_guidance
from . import _sockets

SCALE_TIP = (
    "How strong the pull is. 0 is off, 1 the classifier's own word. Published: 1 at 64 pixels, 0.5 at 128, 1 at 256, 4 at "
    "512, and 10 for a network that was trained without classes. The same at any number of steps."
)


class ImagenClassifierGuidance:
    DISPLAY_NAME = "Imagen Classifier Guidance"
    DESCRIPTION = (
        "Pulls every step's picture towards what a noisy classifier calls the class that is asked for (ADM, 2021), also "
        "where the network was trained without classes. It is added to the guidance that is connected. A step costs one "
        "pass of the classifier forwards and backwards more."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["classifier guidance", "guided diffusion", "adm", "imagenet", "gradient guidance"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.GUIDANCE,)
    RETURN_NAMES = ("guidance",)
    OUTPUT_TOOLTIPS = ("This guidance and what was connected, for a sampler's guidance input.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.01}
        label_tip = (
            "Number of the class, from 0, or its name in ImageNet: 207 or golden retriever. Several with commas are one a "
            "picture: set batch_size to as many."
        )
        return {
            "required": {
                "classifier": (_sockets.CLASSIFIER, {"tooltip": "From Imagen Load Classifier."}),
                "label": ("STRING", {"default": "207", "tooltip": label_tip}),
                "scale": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 50.0, "step": 0.1, "tooltip": SCALE_TIP}),
                "start": (
                    "FLOAT",
                    {"default": 0.0, **share, "tooltip": "Where it begins, on the way from noise (0) to picture (1)."},
                ),
                "end": (
                    "FLOAT",
                    {"default": 1.0, **share, "tooltip": "Where it ends. Outside the interval a step costs no more."},
                ),
            },
            "optional": {
                "guidance": (
                    _sockets.GUIDANCE,
                    {
                        "tooltip": "Another guidance, such as this node's for a second class or classifier: pulls add up. "
                        "Without it, plain classifier-free guidance."
                    },
                ),
            },
        }

    def make(self, classifier, label, scale, start, end, guidance=None):
        first = make_guidance("classifier_free", scale=1.0) if guidance is None else guidance
        others = first if isinstance(first, tuple) else (first,)
        pull = make_guidance(
            "classifier", scale=scale, start=start, end=end, classifier=classifier, labels=labels_of(label)
        )
        return ((*others, pull),)
