"""ImagenIdentity: an individual that words cannot name, told by a picture of it, and how it is to stand."""

from ..imagen_core import Control
from . import _host, _sockets

IMAGE_TIP = (
    "A picture of who is to be drawn, of any size, in any scene; its sides are made alike. One, or one for each picture. An "
    "identity knows the kind of pictures that it was trained on, and no people."
)
EMBED_TIP = (
    "In place of image: what an encoder says of a picture, as wide as the identity was trained with. For an encoder of your "
    "own that lies in no file of ours; see the help page."
)
POINTS_TIP = (
    "How it is to stand: from Imagen Key Points. Left out, words and noise decide, and cn_strength does nothing. One, or "
    "one for each picture."
)


class ImagenIdentity:
    DISPLAY_NAME = "Imagen Identity"
    DESCRIPTION = (
        "Draws one individual again, in other scenes and poses (InstantID): its code is read beside the prompt, and by a "
        "network that sees key points and no words. For made-up figures, no faces. Connect it to the control input of "
        "Imagen Base Sample 64."
    )
    CATEGORY = "imagen/conditioning"
    SEARCH_ALIASES = ["instantid", "apply instantid", "faceid", "identitynet", "consistent character", "same subject"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.CONTROL,)
    RETURN_NAMES = ("control",)
    OUTPUT_TOOLTIPS = ("This identity and what was chained before it, for a sampler's control input.",)

    @classmethod
    def INPUT_TYPES(cls):
        share = {"min": 0.0, "max": 1.0, "step": 0.001}
        return {
            "required": {
                "identity": (
                    _sockets.CONTROL_NET,
                    {"tooltip": "From Imagen Load Control: a file that imagen train identity wrote."},
                ),
            },
            "optional": {
                "image": (_sockets.IMAGE, {"tooltip": IMAGE_TIP}),
                "key_points": (_sockets.IMAGE, {"tooltip": POINTS_TIP}),
                "ip_weight": (
                    "FLOAT",
                    {
                        "default": 0.8,
                        "min": 0.0,
                        "max": 5.0,
                        "step": 0.05,
                        "tooltip": "How much its code counts beside the prompt: how it looks. 0 is off, 1 is as it was "
                        "trained.",
                    },
                ),
                "cn_strength": (
                    "FLOAT",
                    {
                        "default": 0.8,
                        "min": 0.0,
                        "max": 10.0,
                        "step": 0.05,
                        "tooltip": "How much the network counts that sees the key points: where it stands, and how it looks "
                        "there. 0 is off, 1 is as it was trained.",
                    },
                ),
                "start_at": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        **share,
                        "tooltip": "Where both begin, as a share of the schedule from noise (0) to picture (1).",
                    },
                ),
                "end_at": ("FLOAT", {"default": 1.0, **share, "tooltip": "Where both end, as such a share."}),
                "previous": (
                    _sockets.CONTROL,
                    {"tooltip": "Another Imagen Identity, Image Prompt or Control: all work, and add up."},
                ),
                "mask": (
                    _sockets.MASK,
                    {"tooltip": "Where it works: white draws the individual, black the prompt alone."},
                ),
                "image_embed": (_sockets.IMAGE_EMBED, {"tooltip": EMBED_TIP}),
            },
        }

    def make(
        self,
        identity,
        image=None,
        key_points=None,
        ip_weight=0.8,
        cn_strength=0.8,
        start_at=0.0,
        end_at=1.0,
        previous=(),
        mask=None,
        image_embed=None,
    ):
        if not identity.network.takes_key_points:
            raise ValueError(
                f"this file is no identity, but {identity.spec.name}: load one that imagen train identity wrote, or "
                "connect it to Imagen Control or Imagen Image Prompt"
            )
        if (image is None) == (image_embed is None):
            found = "nothing" if image is None else "both"
            raise ValueError(f"connect one of image and image_embed: there is {found}")
        control = Control(
            adapter=identity,
            picture=image_embed if image is None else _host.image_to_core(image),
            key_points=None if key_points is None else _host.image_to_core(key_points),
            strength=ip_weight,
            key_points_strength=cn_strength,
            start=start_at,
            end=end_at,
            mask=None if mask is None else _host.mask_to_core(mask),
        )
        return ((*previous, control),)
