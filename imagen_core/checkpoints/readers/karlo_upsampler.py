"""How is Karlo's upsampler, 64 to 256, read as it was published? (Karlo v1.0.alpha, CreativeML Open RAIL-M.)

super_res_first/ of the pipeline's folder, with super_res_last/ beside it; or the authors' file
improved-sr-ckpt-step=1.2M.ckpt, which holds both, as `imagen convert` writes it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from ...unets.karlo_upsampler import KarloUpsamplerConfig
from ..adm_shapes import Shapes, levels_of, needed
from ..diffusers_scheduler import SchedulerFacts
from ..karlo_keys import NETWORKS, upsampler_map
from ..stage_spec import StageSpec
from ..stored import Stored
from ._base import Reader, Reading, stage_reading
from .karlo_decoder import is_part, scheduler_beside

DEFAULTS = {
    "steps": 7,
    "sampler": "ddpm",
    "spacing": "linspace",
    "guidance_scale": 1.0,
    "aug_level": 0.0,
    "thresholding": "static",
}
STEMS = {"diffusers": "conv_in.weight", "original": "input_blocks.0.0.weight"}


class KarloUpsamplerReader(Reader):
    """Two networks, of which the second draws the last step."""

    name: ClassVar[str] = "karlo_upsampler"
    title: ClassVar[str] = "a Karlo upsampler"
    trained_in_half: ClassVar[bool] = True

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") != "imagen" and _naming(stored) is not None

    def read(self, stored: Stored) -> Reading:
        naming = _naming(stored)
        with self.reading(stored):
            config = config_from_shapes(stored.shapes, naming)
            spec = _spec(config, scheduler_beside(stored, "super_res_scheduler"))
            return stage_reading(stored, spec, partial(upsampler_map, naming=naming), naming)

    def marks(self, folder: Path) -> bool:
        return folder.name == "super_res_first" and is_part(folder, "UNet2DModel", in_channels=6, add_attention=False)


def _naming(stored: Stored) -> str | None:
    """The first network's folder alone is taken too, to say what is missing."""
    if all(f"{prefix}{STEMS['original']}" in stored.shapes for prefix in NETWORKS["original"].values()):
        return "original"
    pair = all(f"{prefix}{STEMS['diffusers']}" in stored.shapes for prefix in NETWORKS["diffusers"].values())
    return "diffusers" if pair or (stored.published and KarloUpsamplerReader().marks(stored.folder)) else None


def config_from_shapes(shapes: Shapes, naming: str) -> KarloUpsamplerConfig:
    """The upsampler whose weights have these shapes. ValueError naming what is missing."""
    names = NETWORKS[naming]
    if f"{names['last.']}{STEMS[naming]}" not in shapes:
        raise ValueError(
            "the network of the first steps lies alone: put the folder super_res_last of the same download beside it"
        )
    prefix = names["first."]
    bare = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    channels, blocks, attention = (tuple(part) for part in zip(*levels_of(bare, naming), strict=True))
    if any(attention):
        raise ValueError("it attends, and Karlo's upsampler has no attention")
    head = needed(bare, "conv_out.weight" if naming == "diffusers" else "out.2.weight")
    return KarloUpsamplerConfig(out_channels=head[0], channels=channels, num_res_blocks=blocks)


def _spec(config: KarloUpsamplerConfig, facts: SchedulerFacts | None) -> StageSpec:
    facts = facts or SchedulerFacts(variance="posterior")
    if facts.variance != "posterior" or config.out_channels != config.in_channels:
        raise ValueError("its steps' variance is not the posterior's, as in Karlo's upsampler")
    return StageSpec(
        stage="sr256",
        unet_config=config,
        schedule_config=facts.schedule,
        prediction_type=facts.prediction_type,
        defaults=DEFAULTS | facts.defaults,
        low_res_resize="bicubic",
    )
