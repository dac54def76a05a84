"""The authors' single file of Karlo's decoder, tiny. What its weights mean is for test_karlo.py."""

import torch

from imagen_core.checkpoints.karlo_keys import decoder_map
from imagen_core.unets.karlo_decoder import KarloDecoder, KarloDecoderConfig

CONFIG = KarloDecoderConfig(
    **KarloDecoderConfig.tiny | {"channels": (32, 64), "per_head_channels": 64}, text_embed_dim=16, image_embed_dim=16
)


def shapes():
    with torch.device("meta"):
        entries = decoder_map(KarloDecoder(CONFIG), "original").values()
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, {}
