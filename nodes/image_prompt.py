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
IMAGE_TIP = (
    "The reference, of any size; its sides are made alike, and an image prompt that sees as a CLIP does sees the square in "
    "the middle. One, or one for each picture; or any number, see combine_embeds."
)
EMBED_TIP = (
    "In place of image, for an image prompt that was trained with a CLIP: what is to be seen, from Imagen Prior Sample, "
    "Imagen Image Embed or Imagen Mix Embeds, with that CLIP. So a base draws embeddings, as DALL-E 2's decoder does."
)
SEEN_TIP = "In place of image: from ComfyUI's CLIP Vision Encode, with the CLIP that the image prompt was trained with."


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
            },
            "optional": {
                "image": (_sockets.IMAGE, {"tooltip": IMAGE_TIP}),
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
                "image_embed": (_sockets.IMAGE_EMBED, {"tooltip": EMBED_TIP}),
                "clip_vision_output": (_sockets.CLIP_VISION_OUTPUT, {"tooltip": SEEN_TIP}),
            },
        }

    def make(
        self,
        image_prompt,
        image=None,
        weight=0.8,
        start_at=0.0,
        end_at=1.0,
        previous=(),
        attn_mask=None,
        weight_type=LINEAR,
        combine_embeds=EACH,
        image_embed=None,
        clip_vision_output=None,
    ):
        control = Control(
            adapter=image_prompt,
            picture=_reference(image, image_embed, clip_vision_output),
            strength=weight,
            start=start_at,
            end=end_at,
            mask=None if attn_mask is None else _host.mask_to_core(attn_mask),
            weight_type=weight_type,
            combine=None if combine_embeds == EACH else combine_embeds,
        )
        if image_prompt.network.takes_key_points:
            raise ValueError("this file is an identity: connect it to Imagen Identity, or load an image prompt")
        if image_prompt.network.takes_hint:
            raise ValueError(
                f"this file is a {image_prompt.spec.name} and follows hints: connect it to Imagen Control, or load an image "
                "prompt"
            )
        return ((*previous, control),)


def _reference(image, image_embed, clip_vision_output):
    """What was connected, in the core's form. ValueError unless it is one of the three."""
    given = {"image": image, "image_embed": image_embed, "clip_vision_output": clip_vision_output}
    connected = [name for name, value in given.items() if value is not None]
    if len(connected) != 1:
        found = " and ".join(connected) or "nothing"
        raise ValueError(f"connect one of image, image_embed and clip_vision_output: there is {found}")
    if image is not None:
        return _host.image_to_core(image)
    return image_embed if image_embed is not None else _host.image_embeds_of(clip_vision_output)
