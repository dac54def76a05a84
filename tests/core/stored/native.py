"""A file of this pack's own."""

import torch

from imagen_core import StageSpec
from imagen_core.checkpoints.readers.native import spec_to_metadata
from imagen_core.unets import BaseUNetConfig, build_unet

CONFIG = BaseUNetConfig(
    image_size=8,
    channels=8,
    channel_mult=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    per_head_channels=8,
    text_embed_dim=8,
)


def shapes():
    spec = StageSpec(stage="base64", unet_config=CONFIG, schedule_config={"name": "cosine"}, prediction_type="x_0")
    with torch.device("meta"):
        state = build_unet(CONFIG).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items()}, spec_to_metadata(spec)
