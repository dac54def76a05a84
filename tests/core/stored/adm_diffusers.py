"""A file of diffusers' UNet2DModel with ADM's blocks, tiny; without its settings beside it, it says itself what it is."""

import torch

from imagen_core.checkpoints.adm_keys import trunk_map
from imagen_core.unets import ADM, ADMConfig

CONFIG = ADMConfig(
    out_channels=3,
    channels=(32, 64),
    num_res_blocks=(1, 1),
    attention=(False, True),
    per_head_channels=32,
    num_classes=3,
)


def shapes():
    with torch.device("meta"):
        entries = trunk_map(ADM(CONFIG), "diffusers").values()
    flags = {"image_size": "64", "num_head_channels": "32", "noise_schedule": "consistency"}
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, flags
