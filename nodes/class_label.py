"""ImagenClassLabel: which class a stage draws that was trained on classes."""

from ..imagen_core import Classes
from . import _sockets

LABEL_TIP = (
    "Number of the class, from 0: of ImageNet's thousand 207 is a golden retriever, 88 a macaw, 980 a volcano. Several with "
    "commas are one a picture: set batch_size to as many."
)


class ImagenClassLabel:
    DISPLAY_NAME = "Imagen Class Label"
    DESCRIPTION = (
        "Asks for a class by its number, in the place of a prompt, of stages that were trained on classes: JiT, DiT, ADM. "
        "Where the network knows a class that stands for none (JiT, DiT), guidance steers away from that."
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
        numbers = [number.strip() for number in label.split(",")]
        if not all(number.isdecimal() for number in numbers):
            raise ValueError(
                f"label is {label!r}: expected the number of a class, or several with commas, such as 207, 88"
            )
        return (Classes(labels=tuple(map(int, numbers))),)
