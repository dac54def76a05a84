"""How is a GLIDE network read as OpenAI published it? (arXiv 2112.10741; glide-text2im, MIT.)

The state dicts base.pt, base_inpaint.pt, upsample.pt and upsample_inpaint.pt of the "filtered" release, as `imagen convert`
writes them. How many channels the stem reads tells the four apart. Shapes do not tell how many heads attend, nor the
schedule: of the published ones that is known; others have to say it (OpenAI's flags, in the file's metadata).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...text.reading import TextReading
from ...unets.adm import ADMConfig
from ..adm_shapes import Shapes, levels_of, needed
from ..glide_keys import SIGNATURE, key_table
from ..openai_flags import told_flags
from ..renaming import count
from ..stage_spec import StageSpec
from ..stored import Stored
from ._base import Reader, Reading, stage_reading

PIXELS = {3: (), 6: ("low_res",), 7: ("known", "mask"), 10: ("known", "mask", "low_res")}  # by what the stem reads
SCHEDULES = ("squaredcos_cap_v2", "linear")


@dataclass(frozen=True)
class Flags:
    """What shapes do not tell, under the names of glide-text2im's options."""

    image_size: int
    noise_schedule: str
    num_head_channels: int = 64
    xf_heads: int = 8


PUBLISHED = {  # by the widths of the levels
    (192, 384, 576, 768): Flags(64, "squaredcos_cap_v2"),
    (192, 192, 384, 384, 768, 768): Flags(256, "linear"),
}
# As in the authors' notebooks: what is drawn, or repainted, and how that is enlarged.
DRAWN: dict[str, Any] = {"steps": 100, "sampler": "ddpm", "guidance_scale": 3.0, "thresholding": "static"}
REPAINTED = DRAWN | {"guidance_scale": 5.0}
ENLARGED = {
    "steps": 27,
    "sampler": "ddim",
    "spacing": "glide27",
    "guidance_scale": 1.0,
    "thresholding": "static",
    "temperature": 0.997,
}
ENLARGED_REPAINTED = ENLARGED | {"sampler": "ddpm"}
DEFAULTS = {3: DRAWN, 7: REPAINTED, 6: ENLARGED, 10: ENLARGED_REPAINTED}


class GLIDEReader(Reader):
    """Stages of both roles, each with or without the picture that is repainted."""

    name: ClassVar[str] = "glide"
    title: ClassVar[str] = "a GLIDE stage"
    trained_in_half: ClassVar[bool] = True

    def matches(self, stored: Stored) -> bool:
        ours = stored.metadata.get("format") != "imagen"
        return ours and SIGNATURE in stored.shapes and "input_blocks.0.0.weight" in stored.shapes

    def read(self, stored: Stored) -> Reading:
        with self.reading(stored):
            flags = _flags(stored)
            spec = _spec(config_from_shapes(stored.shapes, flags), flags)
            return stage_reading(stored, spec, key_table, "original")


def config_from_shapes(shapes: Shapes, flags: Flags) -> ADMConfig:
    """The network whose weights have these shapes. ValueError naming a weight that is missing."""
    channels, blocks, attention = (tuple(part) for part in zip(*levels_of(shapes, "original"), strict=True))
    embed_dim, time_width = needed(shapes, "time_embed.0.weight")
    vocabulary, width = needed(shapes, "token_embedding.weight")
    return ADMConfig(
        out_channels=needed(shapes, "out.2.weight")[0],
        channels=channels,
        num_res_blocks=blocks,
        attention=attention,
        per_head_channels=flags.num_head_channels,
        time_width=time_width,
        time_embed_dim=embed_dim,
        pixels=PIXELS[_stem(shapes)],
        text_embed_dim=1,
        text_width=width,
        text_tokens=needed(shapes, "positional_embedding")[0],
        text_mask=False,
        text_norm=None,
        text_pooling="last",
        text_vocab=vocabulary,
        text_layers=count(shapes, r"transformer\.resblocks\.(\d+)\."),
        text_heads=flags.xf_heads,
    )


def _stem(shapes: Shapes) -> int:
    """How many channels the stem reads."""
    channels = needed(shapes, "input_blocks.0.0.weight")[1]
    if channels not in PIXELS:
        known = "3 to draw, 7 to repaint, 6 to enlarge, 10 to enlarge what is repainted"
        raise ValueError(f"it reads {channels} channels, and GLIDE's stages read {known}")
    return channels


def _flags(stored: Stored) -> Flags:
    """Those of the published network with these shapes, or as the file's metadata says."""
    channels = tuple(level.channels for level in levels_of(stored.shapes, "original"))
    told, known = told_flags(stored.metadata, Flags), PUBLISHED.get(channels)
    if known is None and not {"image_size", "noise_schedule"} <= told.keys():
        raise ValueError(
            f"no published GLIDE network has levels {channels}, and nothing says how it was trained: convert it anew, with "
            "imagen convert --flag image_size=64 --flag noise_schedule=squaredcos_cap_v2, and num_head_channels and "
            "xf_heads where they are not 64 and 8"
        )
    return Flags(**{**(vars(known) if known else {}), **told})


def _spec(config: ADMConfig, flags: Flags) -> StageSpec:
    if flags.noise_schedule not in SCHEDULES:
        raise ValueError(f"noise_schedule is {flags.noise_schedule!r}, expected one of {', '.join(SCHEDULES)}")
    enlarges = "low_res" in config.pixels
    return StageSpec(
        stage=f"{'sr' if enlarges else 'base'}{flags.image_size}",
        unet_config=config,
        schedule_config={"name": "discrete", "betas": flags.noise_schedule, "num_timesteps": 1000},
        prediction_type="eps",
        learned_variance=config.out_channels == 2 * config.in_channels,
        defaults=dict(DEFAULTS[config.stem_channels]),
        text=TextReading(tokens=config.text_tokens, lower_case=True, null="empty"),
        low_res_8bit=enlarges,
    )
