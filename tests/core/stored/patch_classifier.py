"""A noisy classifier of this pack's own, tiny."""

import json
from dataclasses import asdict

from imagen_core.checkpoints.readers.patch_classifier import FORMAT, FORMAT_VERSION
from imagen_core.classifiers.patches import PatchClassifier, PatchClassifierConfig
from imagen_core.clip.config import VisionConfig

VISION = VisionConfig(width=16, layers=2, heads=2, mlp=24, side=16, patch=8)


def shapes():
    network = PatchClassifier(PatchClassifierConfig(vision=VISION, num_classes=5))
    schedule = {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000}
    told = {
        "settings": {"vision": asdict(VISION), "num_classes": 5},
        "schedule": schedule,
        "classes": [],
        "training": {},
    }
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION)}
    metadata |= {name: json.dumps(each) for name, each in told.items()}
    return {key: tuple(weight.shape) for key, weight in network.state_dict().items()}, metadata
