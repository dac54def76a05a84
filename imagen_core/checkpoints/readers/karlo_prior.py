"""How is a diffusion prior read as it was published? (unCLIP, arXiv 2204.06125; Karlo v1.0.alpha, CreativeML Open RAIL-M.)

prior/ of the pipeline's folder (diffusers' PriorTransformer); or the authors' prior-ckpt-step=01000000-of-01000000.ckpt,
as `imagen convert --stats ViT-L-14_stats.th` writes it: how embeddings are normalised lies in a file of its own there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from ...priors.network import STEP, PriorConfig, PriorNetwork
from ...spaces.embeddings import Embeddings
from ...text.reading import AS_CLIP, TextReading
from ..adm_shapes import Shapes
from ..diffusers_scheduler import SchedulerFacts
from ..key_map import Entry, KeyMap, parts_first, prefixed
from ..plausible import WIDEST
from ..renaming import count, first_of_one, renamed, shape_of
from ..stored import Stored
from ._base import Reader, Reading
from .karlo_decoder import is_part, scheduler_beside

HEAD = 64  # width of a head where no setting says it
SIGNATURES = {"diffusers": "proj_to_clip_embeddings.weight", "original": "model.clip_img_proj.weight"}
PREFIXES = {"diffusers": "", "original": "model."}
STATS = ("clip_mean", "clip_std")  # behind no prefix
# ours: (diffusers, original)
NAMES = {
    "text_projection": ("encoder_hidden_states_proj", "text_enc_proj"),
    "pooled_projection": ("embedding_proj", "text_emb_proj"),
    "time_embedding.in_layer": ("time_embedding.linear_1", "time_embed.0"),
    "time_embedding.out_layer": ("time_embedding.linear_2", "time_embed.2"),
    "stem": ("proj_in", "clip_img_proj"),
    "head_norm": ("norm_out", "final_ln"),
    "head": ("proj_to_clip_embeddings", "out_proj"),
    "blocks.*.in_norm": ("transformer_blocks.*.norm1", "transformer.resblocks.*.ln_1"),
    "blocks.*.query": (
        tuple(f"transformer_blocks.*.attn1.to_{part}" for part in "qkv"),
        "transformer.resblocks.*.attn.c_qkv",
    ),
    "blocks.*.out": ("transformer_blocks.*.attn1.to_out.0", "transformer.resblocks.*.attn.c_proj"),
    "blocks.*.mlp_norm": ("transformer_blocks.*.norm3", "transformer.resblocks.*.ln_2"),
    "blocks.*.mlp.0": ("transformer_blocks.*.ff.net.0.proj", "transformer.resblocks.*.mlp.c_fc"),
    "blocks.*.mlp.2": ("transformer_blocks.*.ff.net.2", "transformer.resblocks.*.mlp.c_proj"),
}
KARLO = SchedulerFacts(prediction_type="x_0", variance="posterior", defaults={"threshold_limit": 10.0})
ALONE = {"position": ("positional_embedding",) * 2, "question": ("prd_embedding", "prd_emb")}


@dataclass(frozen=True, kw_only=True)
class PriorSpec:
    """What a prior's file is."""

    config: PriorConfig  # what it is built from
    schedule_config: dict[str, Any]  # by which embeddings were noised that it was trained on
    space: Embeddings  # where it draws
    text: TextReading = AS_CLIP  # how it reads a prompt

    @property
    def settings(self) -> dict[str, Any]:
        """For `imagen inspect`."""
        return vars(self.config) | {"limit": self.space.limit}


class KarloPriorReader(Reader):
    """It draws the embedding that a picture of a text would have."""

    name: ClassVar[str] = "karlo_prior"
    title: ClassVar[str] = "a diffusion prior"
    kind: ClassVar[str] = "prior"
    loader: ClassVar[str] = "Imagen Load Prior"
    trained_in_half: ClassVar[bool] = True

    def matches(self, stored: Stored) -> bool:
        return _naming(stored.shapes) is not None

    def read(self, stored: Stored) -> Reading:
        naming = _naming(stored.shapes)
        with self.reading(stored):
            config = config_from_shapes(stored.shapes, naming, stored.config if naming == "diffusers" else None)
            spec = _spec(config, scheduler_beside(stored, "prior_scheduler"))
        key_map = partial(prior_map, naming=naming)
        return Reading(spec=spec, build=partial(PriorNetwork, config), key_map=key_map, naming=naming)

    def marks(self, folder: Path) -> bool:
        return is_part(folder, "PriorTransformer")


def _naming(shapes: Shapes) -> str | None:
    return next((naming for naming, key in SIGNATURES.items() if key in shapes), None)


def config_from_shapes(shapes: Shapes, naming: str, config: Any = None) -> PriorConfig:
    """The prior whose weights have these shapes. ValueError naming what is missing, or is not as in Karlo's.

    config: of diffusers' config.json, which alone says how many heads there are.
    """
    side, prefix = list(PREFIXES).index(naming), PREFIXES[naming]
    if STATS[0] not in shapes and naming == "original":
        raise ValueError(
            "it lacks clip_mean and clip_std, by which embeddings are normalised: convert the .ckpt anew, with imagen "
            "convert --stats ViT-L-14_stats.th"
        )
    width, embed_dim = shape_of(shapes, f"{prefix}{NAMES['stem'][side]}.weight", 2)
    _, positions, _ = shape_of(shapes, f"{prefix}positional_embedding", 3)
    depth = count(shapes, rf"{re.escape(prefix)}(?:transformer_blocks|transformer\.resblocks)\.(\d+)\.")
    if max(width, embed_dim, positions) > WIDEST or depth > len(shapes):
        raise ValueError(f"it is {width} wide and {depth} deep at {positions} positions, as no prior is")
    return PriorConfig(
        embed_dim=embed_dim,
        text_embed_dim=shape_of(shapes, f"{prefix}{NAMES['text_projection'][side]}.weight", 2)[1],
        text_tokens=positions - 1 - STEP,
        width=width,
        depth=depth,
        heads=int((config or {}).get("num_attention_heads") or max(1, width // HEAD)),
    )


def _spec(config: PriorConfig, facts: SchedulerFacts | None) -> PriorSpec:
    facts = facts or KARLO
    if facts.prediction_type != "x_0" or facts.variance != "posterior":
        raise ValueError("its scheduler asks for another prediction_type than 'sample', or for a learned variance")
    return prior_spec(config, facts)


def prior_spec(config: PriorConfig, facts: SchedulerFacts = KARLO) -> PriorSpec:
    """What a prior of these settings draws in, and how it reads: as many tokens as it has positions for."""
    space = Embeddings(limit=facts.defaults.get("threshold_limit", 1.0))
    reading = replace(AS_CLIP, tokens=config.text_tokens)
    return PriorSpec(config=config, schedule_config=facts.schedule, space=space, text=reading)


def stored_prior(network: PriorNetwork) -> dict[str, Tensor]:
    """A prior's weights as diffusers names and shapes them; in a lone file its heads have to be `HEAD` wide.

    The inverse of `prior_map`. Raises ValueError for heads of another width.
    """
    if network.config.width != HEAD * network.config.heads:
        raise ValueError(
            f"{network.config.heads} heads of a prior {network.config.width} wide are not {HEAD} wide each"
        )
    weights, found = network.state_dict(), {}
    for ours, entry in prior_map(network, "diffusers").items():
        parts = weights[ours].chunk(len(entry.parts))
        found |= {name: part.reshape(shape) for (name, shape), part in zip(entry.parts.items(), parts, strict=True)}
    return found


def prior_map(network: nn.Module, naming: str) -> KeyMap:
    """For each key of a `PriorNetwork` (which may be on the meta device) its `Entry` under `naming`."""
    side = list(PREFIXES).index(naming)
    table = renamed(network, {ours: names[side] for ours, names in NAMES.items()})
    if naming == "original":
        for key, entry in table.items():
            if ".query." in key:
                table[key] = Entry(entry.parts, parts_first(3, network.config.heads))
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    ones = {"position": 1, "question": 2}
    for ours, names in ALONE.items():
        table[ours] = Entry({names[side]: (*[1] * ones[ours], *shapes[ours])}, _without_ones)
    return prefixed(table, theirs=PREFIXES[naming]) | {
        key: Entry({key: (1, *shapes[key])}, first_of_one) for key in STATS
    }


def _without_ones(tensors: list[Tensor]) -> Tensor:
    """(1 l w) -> (l w), (1 1 w) -> (w)."""
    return tensors[0].squeeze(0).squeeze(0) if tensors[0].shape[1] == 1 else tensors[0].squeeze(0)
