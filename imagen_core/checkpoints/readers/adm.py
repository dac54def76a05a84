"""How is an ADM network read as OpenAI published it? (Diffusion Models Beat GANs, arXiv 2105.05233; guided-diffusion, MIT.)

The state dicts 64x64_diffusion.pt to 512x512_diffusion.pt, 256x256_diffusion_uncond.pt, lsun_*.pt and both upsamplers,
as `imagen convert` writes them. Shapes do not tell how many heads attend, in which order queries, keys and values lie,
nor the schedule: of the published ones that is known; others have to say it (OpenAI's flags, in the file's metadata).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ...unets.adm import ADMConfig
from ..adm_keys import NAMINGS, trunk_map
from ..adm_shapes import Shapes, levels_of, needed
from ..openai_flags import told_flags
from ..stage_spec import StageSpec
from ..stored import Stored
from ._base import Reader, Reading, stage_reading

SIGNATURE = ("input_blocks.0.0.weight", "time_embed.0.weight", "output_blocks.0.0.in_layers.0.weight", "out.2.weight")
KEYS = {  # (diffusers, original), as NAMINGS
    "stem": ("conv_in.weight", "input_blocks.0.0.weight"),
    "head": ("conv_out.weight", "out.2.weight"),
    "time": ("time_embedding.linear_1.weight", "time_embed.0.weight"),
    "last_time": (
        "up_blocks.{level}.resnets.{block}.time_emb_proj.weight",
        "output_blocks.{number}.0.emb_layers.1.weight",
    ),
    "classes": ("class_embedding.weight", "label_emb.weight"),
    "middle_attention": ("mid_block.attentions.0.to_q.weight", "middle_block.1.qkv.weight"),
    "resampling": ("samplers.0.conv.weight", ".op."),
}
OTHERS = ("encoder_kv", "transformer_blocks", "encoder_pooling", "transformer.resblocks")  # of ADM's relatives
DISCRETE = {"name": "discrete", "num_timesteps": 1000}
ANCESTRAL = {"steps": 250, "sampler": "ddpm", "guidance_scale": 1.0, "thresholding": "static"}
JUMP = {"steps": 2, "sampler": "consistency", "guidance_scale": 1.0, "thresholding": "static"}
NOISED = {  # what a network puts out, its schedule, how it is sampled
    "cosine": ("eps", DISCRETE | {"betas": "squaredcos_cap_v2"}, ANCESTRAL),
    "linear": ("eps", DISCRETE | {"betas": "linear"}, ANCESTRAL),
    "consistency": ("consistency", {"name": "edm"}, JUMP),  # no schedule of guided-diffusion's: Consistency Models
}


@dataclass(frozen=True)
class Flags:
    """What shapes do not tell, under the names of guided-diffusion's flags."""

    image_size: int
    num_heads: int = 0  # of every layer; 0: as many as fit num_head_channels
    num_head_channels: int = 64
    use_new_attention_order: bool = False
    noise_schedule: str = "linear"  # or "consistency", which are trained on EDM's


# Widths of the levels, which of them attend, pictures that the stem reads: the published networks.
WIDE, UPSAMPLER = (256, 256, 512, 512, 1024, 1024), (192, 192, 384, 384, 768, 768)
PUBLISHED: dict[tuple[tuple[int, ...], tuple[int, ...], int], Flags] = {
    ((192, 384, 576, 768), (1, 2, 3), 1): Flags(64, use_new_attention_order=True, noise_schedule="cosine"),
    ((256, 256, 512, 768, 1024), (2, 3, 4), 1): Flags(128, num_heads=4),
    (WIDE, (3, 4, 5), 1): Flags(256),
    ((128, 256, 256, 512, 512, 1024, 1024), (4, 5, 6), 1): Flags(512),
    (UPSAMPLER, (3, 4, 5), 2): Flags(256, num_heads=4),
    (UPSAMPLER, (4, 5), 2): Flags(512),
}


class ADMReader(Reader):
    """Stages of both roles; those that read six channels enlarge."""

    name: ClassVar[str] = "adm"
    title: ClassVar[str] = "an ADM stage"

    def matches(self, stored: Stored) -> bool:
        keys = stored.shapes
        ours = stored.metadata.get("format") != "imagen" and all(key in keys for key in SIGNATURE)
        return ours and not any(other in key for key in keys for other in OTHERS)

    def read(self, stored: Stored) -> Reading:
        with self.reading(stored):
            flags = _flags(stored)
            spec = spec_of(config_from_shapes(stored.shapes, flags), flags)
            key_map = partial(trunk_map, naming="original", head_by_head=not flags.use_new_attention_order)
            return stage_reading(stored, spec, key_map, "original")


def config_from_shapes(shapes: Shapes, flags: Flags, naming: str = "original") -> ADMConfig:
    """The network whose weights, under `naming`, have these shapes. ValueError naming a weight that is missing."""
    channels, blocks, attention = (tuple(part) for part in zip(*levels_of(shapes, naming), strict=True))
    names = {key: theirs[NAMINGS.index(naming)] for key, theirs in KEYS.items()}
    embed_dim, time_width = needed(shapes, names["time"])
    last = names["last_time"].format(number=sum(blocks) + len(blocks) - 1, level=len(blocks) - 1, block=blocks[0])
    return ADMConfig(
        out_channels=needed(shapes, names["head"])[0],
        channels=channels,
        num_res_blocks=blocks,
        attention=attention,
        middle_attention=names["middle_attention"] in shapes,
        per_head_channels=flags.num_head_channels,
        num_heads=flags.num_heads or None,
        scale_shift=needed(shapes, last)[0] == 2 * channels[0],
        resample_by_block=not any(names["resampling"] in key for key in shapes),
        time_width=time_width,
        time_embed_dim=embed_dim,
        num_classes=shapes[names["classes"]][0] if names["classes"] in shapes else None,
        pixels=("low_res",) if _pictures(shapes, names["stem"]) == 2 else (),
    )


def _pictures(shapes: Shapes, stem: str) -> int:
    """How many pictures the stem reads: x_t, and perhaps the small one enlarged."""
    channels = needed(shapes, stem)[1]
    if channels not in (3, 6):
        raise ValueError(f"it reads {channels} channels, and ADM's stages read 3, or enlarging 6")
    return channels // 3


def _flags(stored: Stored) -> Flags:
    """Those of the published network with these shapes, or as the file's metadata says."""
    levels = levels_of(stored.shapes, "original")
    attending = tuple(index for index, level in enumerate(levels) if level.attends)
    shape = tuple(level.channels for level in levels), attending, _pictures(stored.shapes, KEYS["stem"][1])
    told = told_flags(stored.metadata, Flags)
    known = PUBLISHED.get(shape)
    if known is not None and stored.shapes["out.2.weight"][0] == 3 and "noise_schedule" not in told:
        raise ValueError(
            "it has the levels of a published ADM and no variance, as OpenAI's consistency models and the networks they "
            "were distilled from: of a cd_ or ct_ file say so, with imagen convert --flag noise_schedule=consistency "
            "--flag use_new_attention_order=true, or take the diffusers folder"
        )
    if known is None and "image_size" not in told:
        raise ValueError(
            f"no published ADM network has levels {shape[0]} that attend at {attending}, and nothing says how many heads "
            "it has: convert it anew, with imagen convert --flag image_size=64 --flag num_heads=4, as it was trained"
        )
    return Flags(**{**(vars(known) if known else {}), **told})


def spec_of(config: ADMConfig, flags: Flags) -> StageSpec:
    """The stage of a network of which nothing but flags is known. ValueError for a schedule that is none of NOISED."""
    if flags.noise_schedule not in NOISED:
        raise ValueError(f"noise_schedule is {flags.noise_schedule!r}, expected one of {', '.join(NOISED)}")
    prediction_type, schedule, defaults = NOISED[flags.noise_schedule]
    role = "sr" if config.pixels else "base"
    return StageSpec(
        stage=f"{role}{flags.image_size}",
        unet_config=config,
        schedule_config=schedule,
        prediction_type=prediction_type,
        learned_variance=config.out_channels == 2 * config.in_channels,
        defaults=dict(defaults),
    )
