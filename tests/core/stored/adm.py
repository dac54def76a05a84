"""A file of OpenAI's guided-diffusion, tiny: what its weights mean is for test_adm.py."""

import torch

from imagen_core.checkpoints.adm_keys import trunk_map
from imagen_core.unets import ADM, ADMConfig

CONFIG = ADMConfig(
    channels=(32, 64), num_res_blocks=(1, 1), attention=(False, True), per_head_channels=32, num_classes=3
)


def shapes():
    with torch.device("meta"):
        entries = trunk_map(ADM(CONFIG), "original").values()
    flags = {"image_size": "64", "num_head_channels": "32"}
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, flags
