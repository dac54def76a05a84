"""ImagenTextEncode: a prompt, and what to steer away from, through a frozen text encoder."""

from ..imagen_core import typed_prompt
from . import _sockets


class ImagenTextEncode:
    DISPLAY_NAME = "Imagen Text Encode"
    DESCRIPTION = (
        "Encodes a prompt with the frozen text encoder, once, as the stage reads prompts that draws it; the result serves "
        "every stage. With the negative prompt empty, guidance steers away from the null prompt: zeroed embeddings as in "
        "the paper, or what DeepFloyd IF's T5 gives for an empty text."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["prompt", "clip text encode", "t5 encode", "bert encode", "positive", "negative"]
    FUNCTION = "encode"
    RETURN_TYPES = (_sockets.TEXT,)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("The encoded prompt, for the base sampler and for super-resolution stages that read text.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "text_encoder": (_sockets.TEXT_ENCODER, {"tooltip": "The T5 or BERT, from Imagen Load Text Encoder."}),
                "text": (
                    "STRING",
                    {
                        "multiline": True,
                        "dynamicPrompts": True,
                        "default": "a 3D emoji of a red fox on a pink background",
                        "tooltip": "What to draw, as a plain sentence. imagen-mini's things64 draws things by name: "
                        "'a 3D emoji of a THING', with a colour before the thing and a backdrop after it, such as 'on a "
                        "pink background'. Which things, styles and backdrops it knows: the end of this node's "
                        "help page.",
                    },
                ),
                "negative_text": (
                    "STRING",
                    {
                        "multiline": True,
                        "dynamicPrompts": True,
                        "default": "",
                        "tooltip": "What to steer away from. Usually empty: that is the null prompt, which the network "
                        "was trained with. Text here replaces it.",
                    },
                ),
            },
            "optional": {
                "padding": (
                    ["auto", "none", "77"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "How many tokens are read. 77: as DeepFloyd IF was trained, the prompt in lower case, "
                        "cut or padded to exactly 77. none: as long as the prompt, for imagen-mini. auto: as the "
                        "stage that draws was trained; it is encoded when that stage first asks for it.",
                    },
                ),
                "clean_prompt": (
                    ["auto", "on", "off"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "Whether both texts are cleaned as the captions were that DeepFloyd IF was trained on: "
                        "out go web addresses, tags, file names, long numbers, Chinese characters, 'free shipping' and "
                        "the like. auto: on exactly for stages that were trained so. off: as typed, in lower case there.",
                    },
                ),
            },
        }

    def encode(self, text_encoder, text, negative_text, padding="auto", clean_prompt="auto"):
        return (typed_prompt(text_encoder, text, negative_text, padding=padding, clean=clean_prompt),)
