"""A single file of DiT's, as its authors call the weights. What they mean is for test_patch_files.py."""

import torch

from imagen_core.checkpoints.readers.dit import NAMES
from imagen_core.checkpoints.renaming import renamed
from imagen_core.unets.dit import DiT, DiTConfig

CONFIG = DiTConfig(width=384, mlp_width=8, depth=1, heads=6, num_classes=3)  # heads are told by the width


def shapes():
    with torch.device("meta"):
        network = DiT(CONFIG)
    return {key: shape for entry in renamed(network, NAMES).values() for key, shape in entry.parts.items()}, {}
