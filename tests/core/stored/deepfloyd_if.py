"""A single file of DeepFloyd IF's under diffusers' naming. What its weights mean is for test_deepfloyd_loading.py."""

import torch

from imagen_core.checkpoints.deepfloyd_keys import key_table
from imagen_core.unets import DeepFloydUNet, DeepFloydUNetConfig

CONFIG = DeepFloydUNetConfig(
    channels=(64, 64),
    num_res_blocks=(1, 1),
    attention=(False, True),
    text_embed_dim=64,
    text_width=64,
    pooling_heads=64,
)


def shapes():
    with torch.device("meta"):
        entries = key_table(DeepFloydUNet(CONFIG), "diffusers").values()
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, {}
