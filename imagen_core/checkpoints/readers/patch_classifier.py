"""How is a noisy classifier of this pack's own kept in one .safetensors file? (`imagen train noisy_judge` makes them.)

Metadata (strings): format "imagen-patch-classifier", format_version, settings (JSON: vision, num_classes), schedule (JSON),
classes (JSON: their names in order; [] where they have none), training (JSON).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ..._safetensors import write_safetensors
from ..._settings_file import parsed
from ...classifiers.patches import PatchClassifier, PatchClassifierConfig
from ...clip.config import VisionConfig
from ...whole_files import whole
from ..plausible import WIDEST, check_schedule
from ..stored import Stored
from ._base import Reader, Reading, check_version

FORMAT = "imagen-patch-classifier"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PatchClassifierSpec:
    """What such a file says of itself."""

    config: PatchClassifierConfig  # what it is built from
    schedule_config: dict[str, Any]  # by which the pictures were noised that it was trained on
    classes: tuple[str, ...] = ()  # their names
    training: dict[str, Any] = field(default_factory=dict)  # how it was made


class PatchClassifierReader(Reader):
    """Weights are called as our network calls them; its settings are in the metadata."""

    name: ClassVar[str] = "patch_classifier"
    title: ClassVar[str] = "an Imagen noisy classifier"
    kind: ClassVar[str] = "classifier"
    loader: ClassVar[str] = "Imagen Load Classifier"

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") == FORMAT

    def read(self, stored: Stored) -> Reading:
        check_version(stored, FORMAT_VERSION)
        with self.reading(stored):
            spec = _metadata_to_spec(stored.metadata)
            if spec.config.vision.layers > len(stored.shapes):
                raise ValueError(f"it asks for {spec.config.vision.layers} layers of {len(stored.shapes)} tensors")
        return Reading(spec=spec, build=partial(PatchClassifier, spec.config))


def save_patch_classifier(path: str | os.PathLike[str], network: PatchClassifier, spec: PatchClassifierSpec) -> None:
    """Write it to `path` in float16, whole or not at all."""
    tensors = {key: value.detach().cpu().half().contiguous() for key, value in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "settings": json.dumps({"vision": asdict(spec.config.vision), "num_classes": spec.config.num_classes}),
        "schedule": json.dumps(spec.schedule_config),
        "classes": json.dumps(spec.classes),
        "training": json.dumps(spec.training),
    }
    with whole(Path(path)) as draft:
        write_safetensors(draft, tensors, metadata)


def _metadata_to_spec(metadata: dict[str, str]) -> PatchClassifierSpec:
    names = ("settings", "schedule", "classes", "training")
    told = {name: parsed(metadata.get(name, ""), f"metadata {name!r}") for name in names}
    vision = VisionConfig(**told["settings"]["vision"])
    if max(vision.width, vision.mlp, vision.side) > WIDEST:
        raise ValueError(f"its width, mlp or side is over {WIDEST}")
    check_schedule(told["schedule"])
    return PatchClassifierSpec(
        config=PatchClassifierConfig(vision=vision, num_classes=told["settings"]["num_classes"]),
        schedule_config=told["schedule"],
        classes=tuple(map(str, told["classes"])),
        training=dict(told["training"]),
    )
