"""Which inputs and outputs have the nodes of ComfyUI's own that our graphs use? Read from /object_info of 0.3.64.

Only what a graph is laid out and converted with: names, types, defaults and limits. COMBOs list the values we use.
"""

from __future__ import annotations

SIDE = {"default": 512, "min": 16, "max": 16384, "step": 8}
SCALE = {"default": 512, "min": 0, "max": 16384, "step": 1}

NODES = {
    "CheckpointLoaderSimple": (
        {
            "ckpt_name": [
                ["sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly-fp16.safetensors", "x4-upscaler-ema.safetensors"]
            ]
        },
        ["MODEL", "CLIP", "VAE"],
    ),
    "CLIPTextEncode": (
        {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP"]},
        ["CONDITIONING"],
    ),
    "EmptyLatentImage": (
        {
            "width": ["INT", SIDE],
            "height": ["INT", SIDE],
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
        },
        ["LATENT"],
    ),
    "ImageScale": (
        {
            "image": ["IMAGE"],
            "upscale_method": [["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]],
            "width": ["INT", SCALE],
            "height": ["INT", SCALE],
            "crop": [["disabled", "center"]],
        },
        ["IMAGE"],
    ),
    "KSampler": (
        {
            "model": ["MODEL"],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1}],
            "sampler_name": [["euler", "heun", "dpmpp_2m", "ddim"]],
            "scheduler": [["simple", "karras", "exponential", "normal"]],
            "positive": ["CONDITIONING"],
            "negative": ["CONDITIONING"],
            "latent_image": ["LATENT"],
            "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}],
        },
        ["LATENT"],
    ),
    "SD_4XUpscale_Conditioning": (
        {
            "images": ["IMAGE"],
            "positive": ["CONDITIONING"],
            "negative": ["CONDITIONING"],
            "scale_ratio": ["FLOAT", {"default": 4.0, "min": 0.0, "max": 10.0, "step": 0.01}],
            "noise_augmentation": ["FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.001}],
        },
        {"positive": "CONDITIONING", "negative": "CONDITIONING", "latent": "LATENT"},
    ),
    "SetLatentNoiseMask": ({"samples": ["LATENT"], "mask": ["MASK"]}, ["LATENT"]),
    "VAEDecode": ({"samples": ["LATENT"], "vae": ["VAE"]}, ["IMAGE"]),
    "VAEEncode": ({"pixels": ["IMAGE"], "vae": ["VAE"]}, ["LATENT"]),
}


def object_info() -> dict[str, dict]:
    """These nodes in the form of ComfyUI's /object_info. Outputs without a name of their own are called as their type."""
    infos = {}
    for name, (inputs, outputs) in NODES.items():
        named = outputs if isinstance(outputs, dict) else {output: output for output in outputs}
        info = {"name": name, "input": {"required": inputs}}
        infos[name] = info | {"output": list(named.values()), "output_name": list(named)}
    return infos
