"""Nodes that make pictures, slowly if asked to."""

import time

import torch
from PIL import Image

from imagen_host.runtime import ProgressBar


class Picture:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "draw"
    CATEGORY = "tiny"

    @classmethod
    def INPUT_TYPES(cls):
        side = ("INT", {"default": 8, "min": 1, "max": 8192})
        return {
            "required": {
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**53 - 1}),
                "steps": ("INT", {"default": 2, "min": 1, "max": 1000}),
                "width": side,
                "height": side,
                "seconds_per_step": ("FLOAT", {"default": 0.0, "min": 0.0}),
            },
            "optional": {"text": ("STRING", {"forceInput": True}), "preview": ("BOOLEAN", {"default": False})},
        }

    def draw(self, seed, steps, width, height, seconds_per_step, text="", preview=False):
        bar = ProgressBar(steps)
        for step in range(steps):
            time.sleep(seconds_per_step)
            picture = ("JPEG", Image.new("RGB", (64, 64), (step, 0, 0)), 32) if preview else None
            bar.update_absolute(step + 1, steps, picture)
        print("nodes may print")
        noise = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))
        return (noise,)


class Holes:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "cut"
    CATEGORY = "tiny"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE", {})}}

    def cut(self, image):
        image = image.clone()
        image[:, 0, 0] = float("nan")
        return (image,)


NODES = {"Picture": Picture, "Holes": Holes}
