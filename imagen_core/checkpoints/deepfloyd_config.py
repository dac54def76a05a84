"""Which network do the published settings, or else the shapes of the weights, describe?

Published are a config.json (diffusers) and a config.yml (the original). A single file often has neither; then the shapes
tell all but four facts, which all published stages share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..unets import unet_config_from_dict
from ..unets.deepfloyd_unet import SKIP_DIVISOR, DeepFloydUNet, DeepFloydUNetConfig
from .adm_shapes import Shapes, levels_of, needed
from .deepfloyd_keys import SIGNATURES

# What shapes do not tell.
PER_HEAD_CHANNELS = 64
POOLING_HEADS = 64

# diffusers' settings that make another network when they differ; a file of 2023 lacks those that came later.
FIXED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("gelu",),
    "norm_num_groups": (32,),
    "norm_eps": (1e-5,),
    "addition_embed_type": ("text",),
    "encoder_hid_dim_type": ("text_proj", None),
    "cross_attention_norm": ("group_norm",),
    "cross_attention_norm_num_groups": (32,),
    "resnet_time_scale_shift": ("scale_shift",),
    "mid_block_type": ("UNetMidBlock2DSimpleCrossAttn",),
    "time_embedding_type": ("positional",),
    "time_embedding_act_fn": ("gelu", None),
    "class_embed_type": ("timestep", None),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "center_input_sample": (False,),
    "only_cross_attention": (False,),
    "mid_block_only_cross_attention": (False, None),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
}
ATTENDING = {"SimpleCrossAttnDownBlock2D": True, "ResnetDownsampleBlock2D": False}
MIRRORED = {
    "SimpleCrossAttnDownBlock2D": "SimpleCrossAttnUpBlock2D",
    "ResnetDownsampleBlock2D": "ResnetUpsampleBlock2D",
}
NEEDED = ("block_out_channels", "layers_per_block", "down_block_types", "cross_attention_dim", "in_channels")


def is_complete(config: Mapping[str, Any]) -> bool:
    """Whether a config.json says enough to build the network without looking at the weights."""
    return all(config.get(key) is not None for key in NEEDED)


def config_from_diffusers(config: Mapping[str, Any]) -> DeepFloydUNetConfig:
    """The network of a complete config.json. Raises ValueError naming the setting that is not as in a DeepFloyd stage."""
    for key, allowed in FIXED.items():
        if key in config and config[key] not in allowed:
            raise ValueError(f"{key} is {config[key]!r}, and a DeepFloyd IF stage has {allowed[0]!r}")
    kinds = config["down_block_types"]
    unknown = [kind for kind in kinds if kind not in ATTENDING]
    if unknown:
        raise ValueError(f"down_block_types names {unknown[0]!r}, and a DeepFloyd IF stage has {sorted(ATTENDING)}")
    up_kinds = config.get("up_block_types")
    if up_kinds is not None and list(up_kinds) != [MIRRORED[kind] for kind in reversed(kinds)]:
        raise ValueError("up_block_types is not down_block_types mirrored, as in every DeepFloyd IF stage")
    channels = tuple(config["block_out_channels"])
    stage_two = config.get("class_embed_type") == "timestep"
    text_embed_dim = config.get("encoder_hid_dim")
    return _checked(
        in_channels=_shared(config["in_channels"], stage_two),
        out_channels=config.get("out_channels", 6),
        channels=channels,
        num_res_blocks=_each(config["layers_per_block"], len(channels)),
        attention=tuple(ATTENDING[kind] for kind in kinds),
        per_head_channels=_single("attention_head_dim", config.get("attention_head_dim") or PER_HEAD_CHANNELS),
        text_embed_dim=text_embed_dim or _single("cross_attention_dim", config["cross_attention_dim"]),
        text_width=_single("cross_attention_dim", config["cross_attention_dim"]),
        project_text=text_embed_dim is not None,
        pooling_heads=config.get("addition_embed_type_num_heads") or POOLING_HEADS,
        time_embed_dim=config.get("time_embedding_dim"),
        low_res_conditioning=stage_two,
        skip_divisor=_skip_divisor(config, stage_two),
    )


def _checked(**settings: Any) -> DeepFloydUNetConfig:
    """The config of settings whose types nobody has looked at. ValueError naming the one that is wrong."""
    return unet_config_from_dict({"kind": DeepFloydUNet.name, **settings})


def _shared(stem_channels: Any, stage_two: bool) -> Any:
    """The channels of the picture: stage II's stem reads as many of the upscaled one."""
    return stem_channels // 2 if stage_two and type(stem_channels) is int else stem_channels


def _skip_divisor(config: Mapping[str, Any], stage_two: bool) -> float:
    """Also checks that GELU is applied to the time embedding once: before all blocks, or by each of them."""
    divisor = config.get("resnet_out_scale_factor", SKIP_DIVISOR if stage_two else 1.0)
    if config.get("mid_block_scale_factor", divisor) != divisor:
        raise ValueError("mid_block_scale_factor differs from resnet_out_scale_factor, as in no DeepFloyd IF stage")
    before = config.get("time_embedding_act_fn", "gelu" if stage_two else None) is not None
    if before != bool(config.get("resnet_skip_time_act", stage_two)):
        raise ValueError("resnet_skip_time_act and time_embedding_act_fn apply GELU to the time embedding not once")
    return float(divisor)


def _each(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count


def _single(key: str, value: Any) -> int:
    """A setting that may be listed for each level; ValueError when the levels differ."""
    values = set(value) if isinstance(value, (list, tuple)) else {value}
    if len(values) != 1:
        raise ValueError(f"{key} is {value!r}, and a DeepFloyd IF stage has one for all levels")
    return values.pop()


def config_from_shapes(shapes: Shapes, naming: str, facts: Mapping[str, Any] | None = None) -> DeepFloydUNetConfig:
    """The network whose weights, under `naming`, have these shapes.

    facts: what is known from elsewhere and shapes do not tell: per_head_channels, pooling_heads, skip_divisor. Raises
    ValueError naming a weight that is missing.
    """
    get = partial(needed, shapes)
    levels = levels_of(shapes, naming)
    diffusers = naming == "diffusers"
    stem = get("conv_in.weight" if diffusers else "input_blocks.0.0.weight")
    head = get("conv_out.weight" if diffusers else "out.2.weight")
    projection = shapes.get("encoder_hid_proj.weight" if diffusers else "encoder_proj.weight")
    text_embed_dim = get(SIGNATURES[naming])[-1]
    stage_two = ("class_embedding.linear_1.weight" if diffusers else "aug_proj.0.weight") in shapes
    channels, blocks, attention = (tuple(part) for part in zip(*levels, strict=True))
    return _checked(
        **{
            "in_channels": stem[1] // (2 if stage_two else 1),
            "out_channels": head[0],
            "channels": channels,
            "num_res_blocks": blocks,
            "attention": attention,
            "per_head_channels": PER_HEAD_CHANNELS,
            "text_embed_dim": text_embed_dim,
            "text_width": projection[0] if projection else text_embed_dim,
            "project_text": projection is not None,
            "pooling_heads": POOLING_HEADS,
            "time_embed_dim": get("time_embedding.linear_1.weight" if diffusers else "time_embed.0.weight")[0],
            "low_res_conditioning": stage_two,
            "skip_divisor": SKIP_DIVISOR if stage_two else 1.0,
            **(facts or {}),
        }
    )


def facts_from_yml(path: Path) -> dict[str, Any]:
    """What shapes do not tell, from the original's config.yml (of which only flat `key: value` lines are read)."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = {key: value for key, value in re.findall(r"^\s*(\w+)\s*:\s*([^\s#]+)", text, re.M)}
    facts: dict[str, Any] = {}
    for key, name in {"num_head_channels": "per_head_channels", "att_pool_heads": "pooling_heads"}.items():
        if found.get(key, "").isdigit():
            facts[name] = int(found[key])
    if "model_channels" in found:  # a flag that is off is not written down
        facts["skip_divisor"] = SKIP_DIVISOR if found.get("scale_skip_connection", "").lower() == "true" else 1.0
    return facts
