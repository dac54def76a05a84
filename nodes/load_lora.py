"""ImagenLoadLoRA: a stage with a LoRA laid over its weights."""

from ..imagen_core import find_loras, read_lora, with_lora
from . import _host, _sockets


class ImagenLoadLoRA:
    DISPLAY_NAME = "Imagen Load LoRA"
    DESCRIPTION = (
        "Lays a LoRA over a stage's weights: what Imagen Train LoRA or imagen train lora learned from your pictures. The "
        "loaded stage itself stays as it is; several nodes in a row add up. Behind Imagen To Model ComfyUI's own LoRA "
        "loader reads the same files."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["lora loader", "load lora", "apply lora", "lora model only", "style", "dreambooth"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.UNET,)
    RETURN_NAMES = ("unet",)
    OUTPUT_TOOLTIPS = ("The stage as the LoRA changes it.",)

    @classmethod
    def INPUT_TYPES(cls):
        strength_tip = (
            "How much of the change. 1 as it was learned, 0 none, more exaggerates, below 0 does the reverse."
        )
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "The stage that the LoRA was learned on, from Imagen Load U-Net."}),
                "lora_name": (
                    _host.lora_names(find_loras),
                    {
                        "tooltip": "A .safetensors of Imagen Train LoRA, under models/loras or models/imagen. LoRAs of "
                        "Stable Diffusion and other models fit no stage of ours and are not listed."
                    },
                ),
                "strength": (
                    "FLOAT",
                    {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05, "tooltip": strength_tip},
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, unet=None, lora_name="", strength=1.0):
        return _host.fingerprint(lora_name, *_host.LORA_KINDS)

    def load(self, unet, lora_name, strength):
        lora = read_lora(_host.model_path(lora_name, *_host.LORA_KINDS))
        return (_host.managed(with_lora(unet, lora, strength, device=_host.load_device())),)
