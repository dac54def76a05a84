"""The authors' single file of Karlo's upsampler, tiny. What its weights mean is for test_karlo.py."""

import torch

from imagen_core.checkpoints.karlo_keys import upsampler_map
from imagen_core.unets.karlo_upsampler import KarloUpsampler, KarloUpsamplerConfig


def shapes():
    with torch.device("meta"):
        entries = upsampler_map(KarloUpsampler(KarloUpsamplerConfig(**KarloUpsamplerConfig.tiny)), "original").values()
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, {}
