"""A file of a control of this pack's."""

import torch

from imagen_core import ADAPTERS, AdapterSpec, Fingerprint, build_adapter
from imagen_core.checkpoints.readers.control import spec_to_metadata
from imagen_core.unets import BaseUNetConfig

BASE = BaseUNetConfig(
    image_size=8,
    channels=8,
    channel_mult=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    per_head_channels=8,
    text_embed_dim=8,
)


def shapes():
    kind = ADAPTERS["controlnet"]
    config = kind.config_cls(**kind.config_cls.tiny)
    with torch.device("meta"):
        adapter = build_adapter(kind.name, config, BASE)
    base = Fingerprint(stage="base64", layout="a" * 16, weights=(0.5,) * 16)
    spec = AdapterSpec(name=kind.name, config=config, base=BASE, fingerprint=base)
    return {key: tuple(tensor.shape) for key, tensor in adapter.state_dict().items()}, spec_to_metadata(spec)
