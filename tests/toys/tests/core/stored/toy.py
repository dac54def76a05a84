"""A file of the toy reader's."""

import torch

from imagen_core.unets import build_unet, unet_config_from_dict


def shapes():
    with torch.device("meta"):
        network = build_unet(unet_config_from_dict({"kind": "toy", "width": 8, "text_embed_dim": 16}))
    return {f"theirs.{key}": tuple(tensor.shape) for key, tensor in network.state_dict().items()}, {}
