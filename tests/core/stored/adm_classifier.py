"""A file of OpenAI's noisy classifier, as deep as the one for 128 pixels, and narrow."""

import torch

from imagen_core.checkpoints.readers.adm_classifier import key_map
from imagen_core.classifiers.network import ClassifierConfig, NoisyClassifier
from imagen_core.unets import ADMConfig

CONFIG = ClassifierConfig(
    adm=ADMConfig(
        channels=(32, 32, 32, 32, 64),
        num_res_blocks=(2,) * 5,
        attention=(False,) * 4 + (True,),
        time_width=32,
        time_embed_dim=64,
    ),
    num_classes=5,
    image_size=32,
)


def shapes():
    with torch.device("meta"):
        entries = key_map(NoisyClassifier(CONFIG)).values()
    return {key: shape for entry in entries for key, shape in entry.parts.items()}, {}
