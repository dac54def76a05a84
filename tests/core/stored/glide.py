"""A file of GLIDE's inpainting upsampler, tiny: what its weights mean is for test_glide.py."""

import torch

from imagen_core.checkpoints.glide_keys import key_table
from imagen_core.unets import ADM, ADMConfig

CONFIG = ADMConfig(
    channels=(32, 64),
    num_res_blocks=(1, 1),
    attention=(False, True),
    per_head_channels=32,
    pixels=("known", "mask", "low_res"),
    text_embed_dim=1,
    text_width=32,
    text_tokens=6,
    text_mask=False,
    text_norm=None,
    text_pooling="last",
    text_vocab=40,
    text_layers=2,
    text_heads=2,
)


def shapes():
    with torch.device("meta"):
        entries = key_table(ADM(CONFIG)).values()
    flags = {"image_size": "256", "noise_schedule": "linear", "num_head_channels": "32", "xf_heads": "2"}
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, flags
