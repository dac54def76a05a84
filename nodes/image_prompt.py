"""ImagenImagePrompt: a reference picture beside the prompt, and how strongly, when and where it counts."""

from ..imagen_core import COMBINE, LINEAR, WEIGHT_TYPES, Control
from . import _host, _sockets

EACH = "one each"
TYPE_TIP = (
    "In which layers it counts. linear: in all alike. ease in: first, where it is decided what is where; ease out: last, "
    "where it is decided how it looks. weak input, weak middle, weak output and strong middle lower a third of the layers, "
    "or all but one."
)
COMBINE_TIP = (
    "Of several references in image. one each: picture i of the batch reads reference i. concat: every picture reads all "
    "of them. average: their mean; norm average: their mean at full length, which says more where they differ."
)


class ImagenImagePrompt:
    DISPLAY_NAME = "Imagen Image Prompt"
    DESCRIPTION = (
        "Lets a picture speak beside the prompt (IP-Adapter): what it shows is drawn anew, in the words' layout and "
        "backdrop. Connect it to the control input of a sampler; several are chained by previous, each with its own "
        "weight and mask."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["ipadapter", "ip-adapter", "reference", "style transfer", "picture prompt", "unclip"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.CONTROL,)
    RETURN_NAMES = ("control",)
    OUTPUT_TOOLTIPS = ("This reference and what was chained before it, for a sampler's control input.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.001}
        return {
            "required": {
                "image_prompt": (
                    _sockets.CONTROL_NET,
                    {"tooltip": "From Imagen Load Control: a file that imagen train image_prompt wrote."},
                ),
                "image": (
                    _sockets.IMAGE,
                    {
                        "tooltip": "The reference, of any size; its sides are made alike. One, or one for each picture; or "
                        "any number, see combine_embeds."
                    },
                ),
                "weight": (
                    "FLOAT",
                    {
                        "default": 0.8,
                        "min": 0.0,
                        "max": 5.0,
                        "step": 0.05,
                        "tooltip": "How much it counts beside the prompt. 0 is off, 0.5 shares with the words, 1 is as "
                        "it was trained.",
                    },
                ),
                "start_at": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        **share,
                        "tooltip": "Where it begins, as a share of the schedule from noise (0) to picture (1).",
                    },
                ),
                "end_at": ("FLOAT", {"default": 1.0, **share, "tooltip": "Where it ends, as such a share."}),
            },
            "optional": {
                "previous": (
                    _sockets.CONTROL,
                    {"tooltip": "Another Imagen Image Prompt or Imagen Control: both work, and add up."},
                ),
                "attn_mask": (
                    _sockets.MASK,
                    {"tooltip": "Where it is read: white reads the reference, black the prompt alone."},
                ),
                "weight_type": (
                    list(WEIGHT_TYPES),
                    {"default": LINEAR, "advanced": True, "tooltip": TYPE_TIP},
                ),
                "combine_embeds": ([EACH, *COMBINE], {"default": EACH, "advanced": True, "tooltip": COMBINE_TIP}),
            },
        }

    def make(
        self,
        image_prompt,
        image,
        weight,
        start_at,
        end_at,
        previous=(),
        attn_mask=None,
        weight_type=LINEAR,
        combine_embeds=EACH,
    ):
        control = Control(
            adapter=image_prompt,
            picture=_host.image_to_core(image),
            strength=weight,
            start=start_at,
            end=end_at,
            mask=None if attn_mask is None else _host.mask_to_core(attn_mask),
            weight_type=weight_type,
            combine=None if combine_embeds == EACH else combine_embeds,
        )
        if image_prompt.network.takes_hint:
            raise ValueError(
                f"this file is a {image_prompt.spec.name} and follows hints: connect it to Imagen Control, or load an image "
                "prompt"
            )
        return ((*previous, control),)
