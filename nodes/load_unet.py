"""ImagenLoadUNet: one stage of the cascade from a checkpoint."""

from ..imagen_core import find_stages, load_stage, trained_in_half
from . import _host, _sockets

DEFAULT = "imagen-mini/things64.safetensors"


class ImagenLoadUNet:
    DISPLAY_NAME = "Imagen Load U-Net"
    DESCRIPTION = (
        "Loads one diffusion stage: things64 draws from text, sr256 and sr1024 enlarge. The file says itself which stage, "
        "which noise schedule and which network it is. Reads this pack's checkpoints, DeepFloyd IF's stages I and II, "
        "as published folders or as single .safetensors files, and others of Imagen's family: GLIDE, ADM, JiT, DiT."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = [
        "unet loader",
        "checkpoint loader",
        "load diffusion model",
        "stage",
        "deepfloyd if",
        "glide",
        "adm",
        "karlo",
        "unclip",
    ]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.UNET,)
    RETURN_NAMES = ("unet",)
    OUTPUT_TOOLTIPS = ("The stage, for Imagen Base Sample 64 (things64) or Imagen Super Resolution (sr256, sr1024).",)

    @classmethod
    def INPUT_TYPES(cls):
        names = _host.stage_names(find_stages)
        return {
            "required": {
                "checkpoint": (
                    names,
                    {
                        **({"default": DEFAULT} if DEFAULT in names else {}),
                        "tooltip": "A .safetensors stage or a DeepFloyd IF folder, under models/imagen, "
                        "models/diffusion_models, models/diffusers or in the pack's own models folder. "
                        "imagen-mini: things64 makes the picture, sr256 takes 64 to 256 pixels, sr1024 takes 256 to 1024.",
                    },
                )
            },
            "optional": {
                "dtype": (
                    ["auto", "float32", "float16", "bfloat16"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "Precision of the weights and of the network's arithmetic. auto: imagen-mini in "
                        "float32; DeepFloyd IF and others that were trained in half precision in float16 on a GPU, in "
                        "bfloat16 on a CPU that has it (avx512_bf16, AMX); or what ComfyUI was started with. float16 and "
                        "bfloat16 halve the memory; sampling itself is always float32.",
                    },
                ),
                "weight_dtype": (
                    ["default", "int8"],
                    {
                        "default": "default",
                        "advanced": True,
                        "tooltip": "How weights lie in memory. default: in dtype. int8: a byte each, with a scale for each "
                        "output, and brought to dtype layer by layer as the network runs: half the memory of float16 "
                        "(DeepFloyd IF's stage I-XL in under 5 GiB), slower, pictures hardly other. "
                        "Behind Imagen To Model it is whole again.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, checkpoint, dtype="auto", weight_dtype="default"):
        return _host.fingerprint(checkpoint, *_host.UNET_KINDS)

    def load(self, checkpoint, dtype="auto", weight_dtype="default"):
        path = _host.model_path(checkpoint, *_host.UNET_KINDS)
        chosen = _host.unet_dtype(dtype, trained_in_half=trained_in_half(path))
        small = weight_dtype == "int8"
        return (_host.managed(load_stage(path, device=_host.load_device(), dtype=chosen, eight_bits=small)),)
