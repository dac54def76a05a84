"""How is a DeepFloyd IF stage read as it was published, or as people keep it?

A folder (the pipeline's, or its unet/), sharded or not, fp16 or fp32; one .safetensors under diffusers' or the original
naming; the original's pytorch_model.bin. Which network it is comes from its settings or its shapes, never from its name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from torch import nn

from ..._walk import beginning
from ...text.reading import AS_DEEPFLOYD
from ...unets import build_unet
from ...unets.deepfloyd_unet import DeepFloydUNetConfig
from ..adm_keys import NAMINGS
from ..deepfloyd_config import config_from_diffusers, config_from_shapes, facts_from_yml, is_complete
from ..deepfloyd_keys import SIGNATURES, key_table, with_fixed_variance
from ..diffusers_scheduler import SchedulerFacts, check_noising, published_facts, read_scheduler, scheduler_file
from ..key_map import KeyMap
from ..plausible import check_settings
from ..stage_spec import StageSpec
from ..stored import Stored
from ._base import Reader, Reading

DEFAULTS = {
    "base": {"steps": 100, "sampler": "ddpm", "spacing": "smart100", "guidance_scale": 7.0},
    "sr": {"steps": 50, "sampler": "ddpm", "spacing": "smart50", "guidance_scale": 4.0, "aug_level": 0.25},
}


class DeepFloydReader(Reader):
    """Both stages, told apart by what the stem reads; sampling as in the scheduler's file, or as the authors did."""

    name: ClassVar[str] = "deepfloyd_if"
    title: ClassVar[str] = "a DeepFloyd IF stage"
    trained_in_half: ClassVar[bool] = True

    def matches(self, stored: Stored) -> bool:
        return _naming(stored) is not None

    def read(self, stored: Stored) -> Reading:
        naming = _naming(stored)
        with self.reading(stored):
            config = _network_config(stored, naming)
            _check_channels(config)
            check_settings(config, len(stored.shapes))
        facts = _scheduler(stored, config)
        spec = _spec(config, facts)

        def key_map(unet: nn.Module) -> KeyMap:
            return with_fixed_variance(key_table(unet, naming), naming, stored.shapes, facts.variance)

        return Reading(spec=spec, build=partial(build_unet, spec.unet_config), key_map=key_map, naming=naming)

    def marks(self, folder: Path) -> bool:
        """A pipeline's folder, its unet/ alone, or the original's."""
        for config in (folder / "unet" / "config.json", folder / "config.json"):
            if config.is_file():
                return b"SimpleCrossAttn" in beginning(config)
        return b"encoder_channels" in beginning(folder / "config.yml")


def _naming(stored: Stored) -> str | None:
    """One of NAMINGS, or None for the weights of something else."""
    ours = stored.metadata.get("format") != "imagen"
    return next((naming for naming in NAMINGS if ours and SIGNATURES[naming] in stored.shapes), None)


def _network_config(stored: Stored, naming: str) -> DeepFloydUNetConfig:
    """From config.json where there is a whole one, else from the shapes.

    A file under a name of its own may lie beside another model's config.json: where the shapes make sense by themselves
    and say otherwise, they are believed.
    """
    if naming == "original":
        yml = stored.folder / "config.yml"
        return config_from_shapes(stored.shapes, naming, facts_from_yml(yml) if yml.is_file() else None)
    config = stored.config
    if config is None or config.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        config = None
    if config is None or not is_complete(config):
        return config_from_shapes(stored.shapes, naming)
    if stored.published:
        return config_from_diffusers(config)
    try:
        told = config_from_shapes(stored.shapes, naming)
    except ValueError:
        return config_from_diffusers(config)
    settings = config_from_diffusers(config)
    same = all(getattr(told, name) == getattr(settings, name) for name in ("channels", "num_res_blocks", "attention"))
    return settings if same and told.low_res_conditioning == settings.low_res_conditioning else told


def _scheduler(stored: Stored, config: DeepFloydUNetConfig) -> SchedulerFacts:
    """How the stage is sampled: as its scheduler_config.json says, else as published."""
    scheduler = scheduler_file(stored)
    if scheduler is None:
        return published_facts(enlarges=config.low_res_conditioning)
    facts = read_scheduler(scheduler)
    noising = scheduler_file(stored, "image_noising_scheduler")
    if noising is not None and config.low_res_conditioning:
        check_noising(noising, facts.schedule)
    return facts


def _check_channels(config: DeepFloydUNetConfig) -> None:
    if config.in_channels != 3 or config.out_channels not in (3, 6):
        raise ValueError(
            f"it reads {config.stem_channels} channels and puts out {config.out_channels}: DeepFloyd IF's stages read 3"
            " (I) or 6 (II) and put out 6"
        )


def _spec(config: DeepFloydUNetConfig, facts: SchedulerFacts) -> StageSpec:
    learned = facts.variance == "beta" or (facts.variance == "learned" and config.out_channels == 6)
    role, side = ("sr", 256) if config.low_res_conditioning else ("base", 64)
    return StageSpec(
        stage=f"{role}{side}",
        unet_config=replace(config, out_channels=6 if learned else 3),
        schedule_config=facts.schedule,
        prediction_type=facts.prediction_type,
        learned_variance=learned,
        defaults=DEFAULTS[role] | facts.defaults,
        text=AS_DEEPFLOYD,
        low_res_resize="align_corners",
        aug_zero_is_clean=False,
    )
