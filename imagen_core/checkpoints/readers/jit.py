"""How is a JiT read as it was published, or as people keep it? (arXiv 2511.13720; code and weights MIT.)

The authors' state dict out of their checkpoint-last.pth, whatever its keys begin with ("net."), and the hub's diffusers
folders (BiliSakura/JiT-diffusers). Shapes tell the network, but for the block from which class tokens are read.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...unets.jit import JiTConfig
from ..key_map import Entry, KeyMap, Parts, flat
from ..patch_places import trained_side, with_places
from ..renaming import count, first_of_one, renamed, shape_of
from ..stage_spec import StageSpec
from ..stored import Stored, settings_of_folder
from ._base import Reader, Reading, stage_reading

SIGNATURE = "x_embedder.proj1.weight"  # the bottleneck's; no other network has one
DIFFUSERS_CLASS = "JiTTransformer2DModel"
# The first block that reads the class tokens: by depth, in the published sizes B, L, H and G.
CLASS_TOKENS_FROM = {12: 4, 24: 8, 32: 10, 40: 10}
NAMES = {
    "time_embedding.in_layer": "t_embedder.mlp.0",
    "time_embedding.out_layer": "t_embedder.mlp.2",
    "class_embedding": "y_embedder.embedding_table",
    "squeeze": "x_embedder.proj1",
    "stem": "x_embedder.proj2",
    "blocks.*.in_norm": "blocks.*.norm1",
    "blocks.*.mlp_norm": "blocks.*.norm2",
    "blocks.*.query": "blocks.*.attn.qkv",
    "blocks.*.query_norm": "blocks.*.attn.q_norm",
    "blocks.*.key_norm": "blocks.*.attn.k_norm",
    "blocks.*.out": "blocks.*.attn.proj",
    "blocks.*.mlp.gate_hidden": "blocks.*.mlp.w12",
    "blocks.*.mlp.out": "blocks.*.mlp.w3",
    "blocks.*.modulation": "blocks.*.adaLN_modulation.1",
    "head.norm": "final_layer.norm_final",
    "head.modulation": "final_layer.adaLN_modulation.1",
    "head.out": "final_layer.linear",
}
DIFFUSERS_NAMES = NAMES | {
    "blocks.*.modulation": "blocks.*.adaLN_modulation",
    "head.norm": "norm_final",
    "head.modulation": "adaLN_modulation_final",
    "head.out": "linear_final",
}


class JiTReader(Reader):
    """See the top of this file."""

    name: ClassVar[str] = "jit"
    title: ClassVar[str] = "a JiT stage"

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") != "imagen" and _prefix(stored.shapes) is not None

    def read(self, stored: Stored) -> Reading:
        prefix = _prefix(stored.shapes)
        naming = "diffusers" if f"{prefix}linear_final.weight" in stored.shapes else "original"
        with self.reading(stored):
            config = _config(stored, prefix, DIFFUSERS_NAMES if naming == "diffusers" else NAMES)
            key_map = partial(_key_map, stored=stored, prefix=prefix, naming=naming)
            return stage_reading(stored, _spec(config), key_map, naming)

    def marks(self, folder: Path) -> bool:
        places = (folder / "transformer", folder)
        return any(settings_of_folder(place).get("_class_name") == DIFFUSERS_CLASS for place in places)


def _prefix(shapes: Parts) -> str | None:
    """What a file's keys begin with ("", "net.", ...), or None for the weights of something else."""
    return next((key.removesuffix(SIGNATURE) for key in shapes if key.endswith(SIGNATURE)), None)


def _config(stored: Stored, prefix: str, names: dict[str, str]) -> JiTConfig:
    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(stored.shapes, prefix + name, axes)

    bottleneck, channels, patch, _ = shape(SIGNATURE, 4)
    classes, width = shape("y_embedder.embedding_table.weight", 2)
    depth = count(stored.shapes, re.escape(prefix) + r"blocks\.(\d+)\.")
    _, class_tokens, _ = shape("in_context_posemb", 3)
    return JiTConfig(
        in_channels=channels,
        out_channels=shape(f"{names['head.out']}.weight", 2)[0] // patch**2,
        side=trained_side(stored.shapes, f"{prefix}pos_embed", patch, 16 * patch),
        patch_size=patch,
        width=width,
        depth=depth,
        heads=width // shape("blocks.0.attn.q_norm.weight", 1)[0],
        mlp_width=shape("blocks.0.mlp.w3.weight", 2)[1],
        num_classes=classes - 1,
        bottleneck=bottleneck,
        class_tokens=class_tokens,
        class_tokens_from=_class_tokens_from(stored.config or {}, depth),
    )


def _class_tokens_from(settings: dict[str, Any], depth: int) -> int:
    told = settings.get("in_context_start") if settings.get("_class_name") == DIFFUSERS_CLASS else None
    if told is None and depth not in CLASS_TOKENS_FROM:
        raise ValueError(
            f"it has {depth} blocks, and nothing says from which of them class tokens are read: keep the config.json with"
            " in_context_start beside it"
        )
    return CLASS_TOKENS_FROM[depth] if told is None else told


def _spec(config: JiTConfig) -> StageSpec:
    """As the authors sample: noise grows with the picture, no thresholding, weaker guidance for larger networks."""
    return StageSpec(
        stage=f"base{config.side}",
        unet_config=config,
        schedule_config={
            "name": "flow",
            "noise_scale": max(1.0, config.side / 256),
            "time_scale": 1.0,
            "towards_clean": True,
        },
        prediction_type="x_0",
        defaults={"steps": 50, "guidance_scale": 2.9 if config.width < 1280 else 2.2, "thresholding": "none"},
    )


def _key_map(network: nn.Module, *, stored: Stored, prefix: str, naming: str) -> KeyMap:
    config = network.config
    table = renamed(network, DIFFUSERS_NAMES if naming == "diffusers" else NAMES, prefix=prefix)
    stem, places = f"{prefix}x_embedder.proj2.weight", f"{prefix}in_context_posemb"
    table["stem.weight"] = Entry({stem: (config.width, config.bottleneck, 1, 1)}, flat)
    table["class_places"] = Entry({places: (1, config.class_tokens, config.width)}, first_of_one)
    table["stem.bias"] = with_places(table["stem.bias"], f"{prefix}pos_embed", stored, config)
    return table
