"""ImagenLoadPrior: a diffusion prior, which draws the embedding that a picture of a text would have."""

from ..imagen_core import find_priors, load_prior
from . import _host, _sockets


class ImagenLoadPrior:
    DISPLAY_NAME = "Imagen Load Prior"
    DESCRIPTION = (
        "Loads a diffusion prior (DALL-E 2), which turns a prompt into the CLIP embedding that a picture of it would have. "
        "Reads the prior/ folder of Karlo as published for diffusers, or the authors' prior .ckpt after imagen convert with "
        "--stats."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["karlo", "unclip", "dall-e 2", "dalle2", "prior transformer", "diffusion prior"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.PRIOR,)
    RETURN_NAMES = ("prior",)
    OUTPUT_TOOLTIPS = ("The prior, for Imagen Prior Sample.",)

    @classmethod
    def INPUT_TYPES(cls):
        tip = (
            "A folder such as karlo-v1-alpha/prior, or a .safetensors, under models/imagen, models/diffusion_models, "
            "models/diffusers or in the pack's own models folder."
        )
        precision = (
            "Precision of the weights and of the network's arithmetic. auto: float16 on a GPU, as its authors ran it, "
            "bfloat16 on a CPU that has it (avx512_bf16, AMX), else float32; or what ComfyUI was started with."
        )
        return {
            "required": {"prior_name": (_host.stage_names(find_priors), {"tooltip": tip})},
            "optional": {
                "dtype": (
                    ["auto", "float32", "float16", "bfloat16"],
                    {"default": "auto", "advanced": True, "tooltip": precision},
                )
            },
        }

    @classmethod
    def IS_CHANGED(cls, prior_name, dtype="auto"):
        return _host.fingerprint(prior_name, *_host.UNET_KINDS)

    def load(self, prior_name, dtype="auto"):
        path = _host.model_path(prior_name, *_host.UNET_KINDS)
        return (_host.managed(load_prior(path, dtype=_host.unet_dtype(dtype, trained_in_half=True))),)
