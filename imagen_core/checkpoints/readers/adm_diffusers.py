"""How is a network of ADM's kind read in diffusers' layout, UNet2DModel's, as consistency models are published?

openai/diffusers-cd_imagenet64_l2 and its like (arXiv 2303.01469, MIT); ADM (arXiv 2105.05233) as people convert it; and
DDPM's own (arXiv 2006.11239): google/ddpm-cifar10-32, -celebahq-256, -ema-church-256 and their like (Apache 2.0). Shapes
tell the network, config.json how many heads attend, scheduler_config.json how pictures were noised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ..._settings_file import read_settings
from ...predictions.consistency import SIGMA_DATA, SIGMA_MIN
from ...unets.adm import ADMConfig
from ..adm_keys import trunk_map
from ..adm_shapes import levels_of
from ..ddpm_keys import as_ddpm, modern_shapes, with_constant_variance
from ..diffusers_scheduler import read_scheduler, scheduler_file
from ..key_map import KeyMap
from ..openai_flags import told_flags
from ..stage_spec import StageSpec
from ..stored import Stored, settings_of_folder
from ._base import Reader, Reading, stage_reading
from .adm import JUMP, PUBLISHED, Flags, config_from_shapes, spec_of

NAMING = "diffusers"
CLASS, CONSISTENCY = "UNet2DModel", "CMStochasticIterativeScheduler"
SIGNATURE = (
    "conv_in.weight",
    "conv_out.weight",
    "time_embedding.linear_1.weight",
    "down_blocks.0.resnets.0.time_emb_proj.weight",
    "up_blocks.0.resnets.0.time_emb_proj.weight",
)
OTHERS = (
    "add_k_proj",
    "transformer_blocks",
    "encoder_hid_proj",
    "add_embedding",
    "temp_convs",
    "class_embedding.linear_1",
)
# Settings whose other values are other networks; absent ones have the first of these, diffusers' default.
FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "flip_sin_to_cos": (True, False),
    "freq_shift": (0, 1),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (1, 0),
    "act_fn": ("silu", "swish"),
    "norm_num_groups": (32,),
    "attn_norm_num_groups": (None, 32),
    "norm_eps": (1e-5, 1e-6),
    "class_embed_type": (None,),
}
SCALES = {"sigma_min": SIGMA_MIN, "sigma_data": SIGMA_DATA, "s_noise": 1.0}  # of a consistency model's scheduler


class ADMDiffusersReader(Reader):
    """Stages that draw; a stem of six channels is another's (Karlo's)."""

    name: ClassVar[str] = "adm_diffusers"
    title: ClassVar[str] = "an ADM stage in diffusers' layout"

    def matches(self, stored: Stored) -> bool:
        keys = stored.shapes
        ours = stored.metadata.get("format") != "imagen" and all(key in keys for key in SIGNATURE)
        return (
            ours and keys["conv_in.weight"][1:2] == (3,) and not any(other in key for key in keys for other in OTHERS)
        )

    def read(self, stored: Stored) -> Reading:
        with self.reading(stored):
            told = told_flags(stored.metadata, Flags) | _settings(stored)
            shapes = modern_shapes(stored.shapes)
            config = config_from_shapes(shapes, Flags(**{"image_size": 0, **told}), NAMING)
            config = replace(config, **_as_ddpm_has_it(stored))
            spec = _spec(stored, shapes, config, told)

            def key_map(unet: nn.Module) -> KeyMap:
                table = as_ddpm(trunk_map(unet, NAMING), stored.shapes, sines_first=_sines_first(stored))
                return with_constant_variance(table, stored.shapes) if _is_constant(spec, config) else table

            return stage_reading(stored, spec, key_map, NAMING)

    def marks(self, folder: Path) -> bool:
        return any(_is_ours(settings_of_folder(place)) for place in (folder / "unet", folder))


def _is_ours(settings: Mapping[str, Any]) -> bool:
    return settings.get("_class_name") == CLASS and settings.get("in_channels", 3) == 3


def _settings(stored: Stored) -> dict[str, Any]:
    """What config.json says, as flags; nothing where there is none. ValueError naming a setting of another network."""
    config = stored.config
    if config is None or config.get("_class_name") != CLASS:
        return {}
    for key, allowed in FIXED.items():
        if config.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{key} is {config[key]!r}, and an ADM network has {allowed[0]!r}")
    heads = config.get("attention_head_dim", 8)
    flags = {"num_heads": 1} if heads is None else {"num_head_channels": heads}
    side = config.get("sample_size")
    return flags | ({} if side is None else {"image_size": side[0] if isinstance(side, list) else side})


def _as_ddpm_has_it(stored: Stored) -> dict[str, Any]:
    """Settings of the network in which DDPM and ADM differ, and which change no shape."""
    config = stored.config or {}
    if config.get("_class_name") != CLASS:
        return {}
    below = config.get("downsample_padding", 1) == 0
    return {"freq_shift": config.get("freq_shift", 0), "norm_eps": config.get("norm_eps", 1e-5), "pad_below": below}


def _sines_first(stored: Stored) -> bool:
    config = stored.config or {}
    return config.get("_class_name") == CLASS and not config.get("flip_sin_to_cos", True)


def _is_constant(spec: StageSpec, config: ADMConfig) -> bool:
    """Whether the scheduler asks for a variance that this network has no channels for."""
    return spec.unet_config.out_channels != config.out_channels


def _spec(
    stored: Stored, shapes: Mapping[str, tuple[int, ...]], config: ADMConfig, told: Mapping[str, Any]
) -> StageSpec:
    scheduler = scheduler_file(stored) or scheduler_file(stored, ".")  # DDPM's folders are flat
    if scheduler is None:
        return spec_of(config, Flags(**_as_published(stored, shapes, config) | told))
    if "image_size" not in told:
        raise ValueError("config.json has no sample_size, the side of its pictures")
    if read_settings(scheduler).get("_class_name") == CONSISTENCY:
        return _consistency(config, told, scheduler)
    facts = read_scheduler(scheduler)
    learned = config.out_channels == 2 * config.in_channels
    if learned and facts.variance != "learned":
        raise ValueError(
            f"it puts out a variance, and {scheduler} asks for a fixed one: set variance_type to learned_range"
        )
    constant = facts.variance == "beta"  # fixed_large: channels of a constant variance, of which no sampler knows
    return StageSpec(
        stage=f"base{told['image_size']}",
        unet_config=replace(config, out_channels=2 * config.in_channels) if constant else config,
        schedule_config=facts.schedule,
        prediction_type=facts.prediction_type,
        learned_variance=learned or constant,
        defaults={"steps": 250, "sampler": "ddpm", "guidance_scale": 1.0} | facts.defaults,
    )


def _as_published(stored: Stored, shapes: Mapping[str, tuple[int, ...]], config: ADMConfig) -> dict[str, Any]:
    """The flags of the published network with these levels. Of those without a variance: OpenAI's consistency models."""
    levels = levels_of(shapes, NAMING)
    attending = tuple(index for index, level in enumerate(levels) if level.attends)
    known = PUBLISHED.get((tuple(level.channels for level in levels), attending, 1))
    if known is not None:
        schedule = "consistency" if config.out_channels == 3 else known.noise_schedule
        return {"image_size": known.image_size, "noise_schedule": schedule}
    if not {"image_size", "noise_schedule"} <= stored.metadata.keys():
        raise ValueError(
            "nothing says how its pictures were noised: keep scheduler/scheduler_config.json beside its folder, as it was "
            "published"
        )
    return {}


def _consistency(config: ADMConfig, told: Mapping[str, Any], scheduler: Path) -> StageSpec:
    """A consistency model, as its scheduler's file says. ValueError naming a setting that none of OpenAI's has."""
    settings = read_settings(scheduler)
    for key, usual in SCALES.items():
        if settings.get(key, usual) != usual:
            raise ValueError(f"{scheduler}: {key} is {settings[key]!r}, and only {usual} is read")
    clips = settings.get("clip_denoised", True)
    schedule = {"name": "edm", "sigma_max": settings.get("sigma_max", 80.0)}
    return StageSpec(
        stage=f"base{told['image_size']}",
        unet_config=config,
        schedule_config=schedule,
        prediction_type="consistency",
        defaults=JUMP | ({} if clips else {"thresholding": "none"}),
    )
