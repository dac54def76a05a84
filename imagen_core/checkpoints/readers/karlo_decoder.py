"""How is Karlo's decoder read as it was published? (unCLIP, arXiv 2204.06125; Karlo v1.0.alpha, CreativeML Open RAIL-M.)

decoder/ of the pipeline's folder (kakaobrain/karlo-v1-alpha), with text_proj/ beside it; or the authors' file
decoder-ckpt-step=01000000-of-01000000.ckpt, as `imagen convert` writes it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ...text.reading import AS_CLIP
from ...unets.karlo_decoder import KarloDecoderConfig
from ..adm_shapes import Shapes, levels_of, needed
from ..diffusers_scheduler import SchedulerFacts, read_scheduler
from ..karlo_keys import NULL_IMAGE, PREFIXES, decoder_map
from ..stage_spec import StageSpec
from ..stored import Stored, settings_of_folder
from ._base import Reader, Reading, stage_reading

DEFAULTS = {"steps": 25, "sampler": "ddpm", "spacing": "linspace", "guidance_scale": 8.0, "thresholding": "static"}
# A key that the decoder has under one naming, and what others with that key have besides.
SIGNATURES = {"diffusers": "mid_block.attentions.0.add_k_proj.weight", "original": "model.clip_tok_proj.weight"}
OTHERS = ("norm_cross", "add_embedding", "encoder_hid_proj", "class_embedding", "attn2")


class KarloDecoderReader(Reader):
    """It draws 64x64 pictures of an image's embedding, and of text beside it."""

    name: ClassVar[str] = "karlo_decoder"
    title: ClassVar[str] = "a Karlo decoder"
    trained_in_half: ClassVar[bool] = True

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") != "imagen" and _naming(stored.shapes) is not None

    def read(self, stored: Stored) -> Reading:
        naming = _naming(stored.shapes)
        with self.reading(stored):
            config = config_from_shapes(stored.shapes, naming, stored.config if naming == "diffusers" else None)
            spec = _spec(config, scheduler_beside(stored, "decoder_scheduler"))
            return stage_reading(stored, spec, partial(decoder_map, naming=naming), naming)

    def marks(self, folder: Path) -> bool:
        return is_part(folder, "UNet2DConditionModel", class_embed_type="identity")


def _naming(shapes: Shapes) -> str | None:
    found = next((naming for naming, key in SIGNATURES.items() if key in shapes), None)
    if found == "diffusers" and any(other in key for key in shapes for other in OTHERS):
        return None
    return found


def is_part(folder: Path, class_name: str, **settings: Any) -> bool:
    """Whether a folder's config.json is of this class of diffusers', with these settings."""
    found = settings_of_folder(folder)
    return found.get("_class_name") == class_name and all(found.get(key) == value for key, value in settings.items())


def scheduler_beside(stored: Stored, name: str) -> SchedulerFacts | None:
    """What the scheduler in a pipeline's folder `name` says; None where there is none, or the name is a user's own."""
    file = stored.folder.parent / name / "scheduler_config.json"
    return read_scheduler(file) if stored.published and file.is_file() else None


def config_from_shapes(shapes: Shapes, naming: str, config: Any = None) -> KarloDecoderConfig:
    """The decoder whose weights have these shapes. ValueError naming what is missing.

    config: of diffusers' config.json, which alone says how wide a head is.
    """
    side = list(PREFIXES).index(naming)
    bare = {key.removeprefix(PREFIXES[naming]): shape for key, shape in shapes.items()}
    if NULL_IMAGE[side] not in bare:
        raise ValueError("the decoder lies alone: put the folder text_proj of the same download beside its own")
    channels, blocks, attention = (tuple(part) for part in zip(*levels_of(bare, naming), strict=True))
    width, text_width = needed(bare, ("text_proj.encoder_hidden_states_proj", "text_seq_proj.0")[side] + ".weight")
    tokens = needed(bare, ("text_proj.clip_extra_context_tokens_proj", "clip_tok_proj")[side] + ".weight")
    head = needed(bare, ("conv_out.weight", "out.2.weight")[side])
    return KarloDecoderConfig(
        out_channels=head[0],
        channels=channels,
        num_res_blocks=blocks,
        attention=attention,
        per_head_channels=int((config or {}).get("attention_head_dim") or 64),
        text_embed_dim=text_width,
        text_width=width,
        image_embed_dim=bare[NULL_IMAGE[side]][0],
        image_tokens=tokens[0] // width,
    )


def _spec(config: KarloDecoderConfig, facts: SchedulerFacts | None) -> StageSpec:
    facts = facts or SchedulerFacts()
    if facts.variance != "learned" or config.out_channels != 2 * config.in_channels:
        raise ValueError("its steps' variance is not the network's own, as in Karlo's decoder")
    return StageSpec(
        stage="base64",
        unet_config=config,
        schedule_config=facts.schedule,
        prediction_type=facts.prediction_type,
        learned_variance=True,
        defaults=DEFAULTS | facts.defaults,
        text=AS_CLIP,
    )
