"""How is a DiT read as it was published, or as people keep it? (arXiv 2212.09748; weights CC-BY-NC 4.0.)

Facebook's state dict (DiT-XL-2-256x256.pt, converted to safetensors), and diffusers' folders (facebook/DiT-XL-2-256).
It draws latents of Stable Diffusion's VAE. SiT (arXiv 2401.08740) has the same keys and cannot be told from it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from ...spaces.latents import Latents
from ...unets.dit import DiTConfig
from ..key_map import Entry, KeyMap, Parts
from ..patch_places import trained_side, with_places
from ..renaming import count, renamed, shape_of
from ..stage_spec import StageSpec
from ..stored import Stored, settings_of_folder
from ._base import Reader, Reading, stage_reading

DIFFUSERS_CLASSES = ("DiTTransformer2DModel", "Transformer2DModel")
# Which keys only a DiT has all of, under each naming.
SIGNATURES = {
    "original": ("x_embedder.proj.weight", "blocks.0.adaLN_modulation.1.weight", "blocks.0.mlp.fc1.weight"),
    "diffusers": ("transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight", "proj_out_1.weight"),
}
HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # by width, in the published sizes S, B, L and XL; told by no shape
NAMES = {
    "time_embedding.in_layer": "t_embedder.mlp.0",
    "time_embedding.out_layer": "t_embedder.mlp.2",
    "class_embedding": "y_embedder.embedding_table",
    "stem": "x_embedder.proj",
    "blocks.*.query": "blocks.*.attn.qkv",
    "blocks.*.out": "blocks.*.attn.proj",
    "blocks.*.mlp.0": "blocks.*.mlp.fc1",
    "blocks.*.mlp.2": "blocks.*.mlp.fc2",
    "blocks.*.modulation": "blocks.*.adaLN_modulation.1",
    "head.modulation": "final_layer.adaLN_modulation.1",
    "head.out": "final_layer.linear",
}
# There every block has a copy of what embeds time and class.
EMBEDDERS = "transformer_blocks.{}.norm1.emb"
DIFFUSERS_NAMES = {
    "time_embedding.in_layer": f"{EMBEDDERS.format(0)}.timestep_embedder.linear_1",
    "time_embedding.out_layer": f"{EMBEDDERS.format(0)}.timestep_embedder.linear_2",
    "class_embedding": f"{EMBEDDERS.format(0)}.class_embedder.embedding_table",
    "stem": "pos_embed.proj",
    "blocks.*.query": tuple(f"transformer_blocks.*.attn1.to_{part}" for part in "qkv"),
    "blocks.*.out": "transformer_blocks.*.attn1.to_out.0",
    "blocks.*.mlp.0": "transformer_blocks.*.ff.net.0.proj",
    "blocks.*.mlp.2": "transformer_blocks.*.ff.net.2",
    "blocks.*.modulation": "transformer_blocks.*.norm1.linear",
    "head.modulation": "proj_out_1",
    "head.out": "proj_out_2",
}


class DiTReader(Reader):
    """See the top of this file."""

    name: ClassVar[str] = "dit"
    title: ClassVar[str] = "a DiT stage"

    def matches(self, stored: Stored) -> bool:
        return stored.metadata.get("format") != "imagen" and _naming(stored.shapes) is not None

    def read(self, stored: Stored) -> Reading:
        naming = _naming(stored.shapes)
        with self.reading(stored):
            key_map = {"original": _original_map, "diffusers": _diffusers_map}[naming]
            return stage_reading(stored, _spec(_config(stored, naming)), partial(key_map, stored=stored), naming)

    def marks(self, folder: Path) -> bool:
        return any(_is_dits(settings_of_folder(place)) for place in (folder / "transformer", folder))


def _naming(shapes: Parts) -> str | None:
    return next((naming for naming, keys in SIGNATURES.items() if all(key in shapes for key in keys)), None)


def _is_dits(settings: dict[str, Any]) -> bool:
    return settings.get("_class_name") in DIFFUSERS_CLASSES and settings.get("norm_type") == "ada_norm_zero"


def _config(stored: Stored, naming: str) -> DiTConfig:
    names = {"original": NAMES, "diffusers": DIFFUSERS_NAMES}[naming]
    settings = (stored.config or {}) if naming == "diffusers" else {}
    width, channels, patch, _ = shape_of(stored.shapes, f"{names['stem']}.weight", 4)
    first = names["blocks.*.mlp.0"].replace("*", "0")
    return DiTConfig(
        in_channels=channels,
        out_channels=shape_of(stored.shapes, f"{names['head.out']}.weight", 2)[0] // patch**2,
        side=trained_side(stored.shapes, "pos_embed", patch, settings.get("sample_size", 32)),
        patch_size=patch,
        width=width,
        mlp_width=shape_of(stored.shapes, f"{first}.weight", 2)[0],
        depth=count(stored.shapes, r"(?:transformer_)?blocks\.(\d+)\."),
        heads=_heads(settings, width),
        num_classes=shape_of(stored.shapes, f"{names['class_embedding']}.weight", 2)[0] - 1,
    )


def _heads(settings: dict[str, Any], width: int) -> int:
    told = settings.get("num_attention_heads")
    if told is None and width not in HEADS:
        raise ValueError(f"it is {width} wide, as no published DiT, and nothing says how many heads attend")
    return HEADS[width] if told is None else told


def _spec(config: DiTConfig) -> StageSpec:
    return StageSpec(
        stage=f"base{8 * config.side}",
        unet_config=config,
        schedule_config={"name": "discrete", "betas": "linear", "num_timesteps": 1000},
        prediction_type="eps",
        space=Latents(),
        learned_variance=config.out_channels == 2 * config.in_channels,
        defaults={"steps": 250, "sampler": "ddpm", "guidance_scale": 4.0},
    )


def _original_map(network: nn.Module, *, stored: Stored) -> KeyMap:
    table = renamed(network, NAMES)
    table["stem.bias"] = with_places(table["stem.bias"], "pos_embed", stored, network.config)
    return table


def _diffusers_map(network: nn.Module, *, stored: Stored) -> KeyMap:
    table = renamed(network, DIFFUSERS_NAMES)
    for key, entry in table.items():
        if key.startswith(("time_embedding.", "class_embedding.")):
            table[key] = _with_copies(entry, network.config.depth, stored.path)
    return table


def _with_copies(entry: Entry, depth: int, path: Path) -> Entry:
    """The entry of the first block's embedder, those of the others beside it, which have to be the same."""
    ((key, shape),) = entry.parts.items()
    copies = {key.replace(EMBEDDERS.format(0), EMBEDDERS.format(index)): shape for index in range(1, depth)}
    return Entry(entry.parts | copies, partial(_one_of, f"{path}: {key!r}"))


def _one_of(name: str, tensors: list[Tensor]) -> Tensor:
    first, *others = tensors
    if not all(first.equal(other) for other in others):
        raise ValueError(f"{name} differs from block to block, and in a DiT as published they are copies")
    return first
