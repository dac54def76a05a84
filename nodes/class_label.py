"""ImagenClassLabel: which class a stage draws that was trained on classes."""

from ..imagen_core import Classes, labels_of
from . import _sockets

LABEL_TIP = (
    "Number of the class, from 0, or its name in ImageNet: 207 or golden retriever, 88 or macaw, 980 or volcano. Several "
    "with commas are one a picture: set batch_size to as many."
)


class ImagenClassLabel:
    DISPLAY_NAME = "Imagen Class Label"
    DESCRIPTION = (
        "Asks for a class by its number or its name, in the place of a prompt, of stages that were trained on classes: JiT, "
        "DiT, ADM. Where the network knows a class that stands for none (JiT, DiT), guidance steers away from that."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["class conditioning", "imagenet", "label", "jit", "dit", "adm"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.TEXT,)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("What is asked for, for a sampling node's text input.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"label": ("STRING", {"default": "207", "tooltip": LABEL_TIP})}}

    def make(self, label):
        return (Classes(labels=labels_of(label)),)
