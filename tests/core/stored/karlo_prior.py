"""The authors' single file of Karlo's prior with its statistics, tiny. What its weights mean is for test_karlo.py."""

import torch

from imagen_core.checkpoints.readers.karlo_prior import prior_map
from imagen_core.priors.network import PriorConfig, PriorNetwork


def shapes():
    with torch.device("meta"):
        network = PriorNetwork(PriorConfig(width=64, heads=1, depth=2, embed_dim=16, text_embed_dim=16))
    return {key: shape for entry in prior_map(network, "original").values() for key, shape in entry.parts.items()}, {}
