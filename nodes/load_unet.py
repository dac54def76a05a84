"""ImagenLoadUNet: one stage of the cascade from a checkpoint."""

from ..imagen_core import is_stage_checkpoint, load_stage
from . import _host, _sockets

DEFAULT = "imagen-mini/base64.safetensors"


class ImagenLoadUNet:
    DISPLAY_NAME = "Imagen Load U-Net"
    DESCRIPTION = (
        "Loads one diffusion stage: base64 draws from text, sr256 and sr1024 enlarge. The file says itself which stage, "
        "which noise schedule and which network it is."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["unet loader", "checkpoint loader", "load diffusion model", "stage"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.UNET,)
    RETURN_NAMES = ("unet",)
    OUTPUT_TOOLTIPS = ("The stage, for Imagen Base Sample 64 (base64) or Imagen Super Resolution (sr256, sr1024).",)

    @classmethod
    def INPUT_TYPES(cls):
        names = _host.model_names(is_stage_checkpoint, "*.safetensors")
        return {
            "required": {
                "checkpoint": (
                    names,
                    {
                        **({"default": DEFAULT} if DEFAULT in names else {}),
                        "tooltip": "A .safetensors stage under models/imagen or in the pack's own models folder. "
                        "base64 makes the picture, sr256 takes 64 to 256 pixels, sr1024 takes 256 to 1024.",
                    },
                )
            }
        }

    @classmethod
    def IS_CHANGED(cls, checkpoint):
        return _host.fingerprint(checkpoint)

    def load(self, checkpoint):
        return (_host.managed(load_stage(_host.model_path(checkpoint), device=_host.device())),)
