"""A single file of JiT's, as its authors call the weights. What they mean is for test_patch_files.py."""

import torch

from imagen_core.checkpoints.readers.jit import NAMES
from imagen_core.checkpoints.renaming import renamed
from imagen_core.unets.jit import JiT, JiTConfig

CONFIG = JiTConfig(
    side=32, patch_size=2, width=8, mlp_width=6, depth=12, heads=2, num_classes=3, bottleneck=5, class_tokens=2
)


def shapes():
    with torch.device("meta"):
        network = JiT(CONFIG)
    entries = renamed(network, NAMES, prefix="net.").values()
    found = {key: shape for entry in entries for key, shape in entry.parts.items()}
    stem = {"net.x_embedder.proj2.weight": (8, 5, 1, 1)}
    return found | stem | {"net.in_context_posemb": (1, 2, 8)}, {}
