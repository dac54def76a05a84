"""How is ADM's noisy classifier read as OpenAI published it? (arXiv 2105.05233, section 4; guided-diffusion, MIT.)

64x64_classifier.pt to 512x512_classifier.pt, as `imagen convert` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ...classifiers.network import ClassifierConfig, NoisyClassifier
from ...unets.adm import ADMConfig
from ..adm_keys import pointwise, trunk_map
from ..adm_shapes import Shapes, levels_down, needed
from ..key_map import Entry, KeyMap
from ..renaming import count
from ..stored import Stored
from ._base import Reader, Reading

POSITION = "out.2.positional_embedding"
DEPTHS = {20: 4, 15: 2, 18: 2, 21: 2}  # residual blocks a level, by the cells of the published ones: 64, 128, 256, 512
MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """What a classifier's file is."""

    config: ClassifierConfig  # what it is built from
    schedule_config: dict[str, Any]  # by which the pictures were noised that it was trained on

    @property
    def settings(self) -> dict[str, Any]:
        """For `imagen inspect`."""
        return {"classes": self.config.num_classes, "image_size": self.config.image_size}


class ADMClassifierReader(Reader):
    """The way down of an ADM network, and attention that pools what it found."""

    name: ClassVar[str] = "adm_classifier"
    title: ClassVar[str] = "an ADM noisy classifier"
    kind: ClassVar[str] = "classifier"
    loader: ClassVar[str] = "Imagen Load Classifier"

    def matches(self, stored: Stored) -> bool:
        return POSITION in stored.shapes and "time_embed.0.weight" in stored.shapes

    def read(self, stored: Stored) -> Reading:
        with self.reading(stored):
            config = config_from_shapes(stored.shapes)
        betas = "squaredcos_cap_v2" if config.image_size == 64 else "linear"
        spec = ClassifierSpec(
            config=config, schedule_config={"name": "discrete", "betas": betas, "num_timesteps": 1000}
        )
        return Reading(spec=spec, build=partial(NoisyClassifier, config), key_map=key_map, naming="original")


def config_from_shapes(shapes: Shapes) -> ClassifierConfig:
    """The classifier whose weights have these shapes. ValueError naming what is missing or of no published one."""
    cells = count(shapes, r"input_blocks\.(\d+)\.")
    if cells not in DEPTHS:
        known = ", ".join(map(str, DEPTHS))
        raise ValueError(f"it has {cells} input_blocks, and the published classifiers have {known}")
    channels, blocks, attention = (tuple(part) for part in zip(*levels_down(shapes, DEPTHS[cells]), strict=True))
    embed_dim, time_width = needed(shapes, "time_embed.0.weight")
    positions, classes = needed(shapes, POSITION)[1] - 1, needed(shapes, "out.2.c_proj.weight")[0]
    if not 0 < classes <= MOST_CLASSES or positions > 64**2:
        raise ValueError(f"it tells {classes} classes apart at {positions} positions, which no classifier does")
    adm = ADMConfig(
        channels=channels,
        num_res_blocks=blocks,
        attention=attention,
        per_head_channels=64,
        time_width=time_width,
        time_embed_dim=embed_dim,
    )
    side = round(positions**0.5) * 2 ** (len(channels) - 1)
    return ClassifierConfig(adm=adm, num_classes=classes, image_size=side)


def key_map(network: NoisyClassifier) -> KeyMap:
    """Attention of its layers head by head; of its end all queries, all keys, all values."""
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    positions, channels = shapes["head.position"]
    return {
        **trunk_map(network, "original"),
        "head.position": Entry({POSITION: (channels, positions)}, _turned),
        **pointwise(shapes, "head.query", "out.2.qkv_proj", axes=1),
        **pointwise(shapes, "head.out", "out.2.c_proj", axes=1),
    }


def _turned(tensors: list[Tensor]) -> Tensor:
    return tensors[0].mT
