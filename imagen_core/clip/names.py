"""Where in a file is each of a CLIP's weights? Four schemes of names, read under transformers' own.

transformers' (also ComfyUI's clip_l and clip_vision files, and Stable Diffusion 1's and SDXL's first encoder, behind a
prefix; one tower alone may leave out its name), and OpenAI's, which OpenCLIP and Stable Diffusion 2's and SDXL's second
encoder share: queries, keys and values lie in one matrix there, and projections are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..text.archives import Archive

# What every file of a scheme has, behind any prefix: a text tower, a vision tower.
HUB = ("text_model.encoder.layers.0.self_attn.q_proj.weight", "vision_model.encoder.layers.0.self_attn.q_proj.weight")
OPENAI = ("transformer.resblocks.0.attn.in_proj_weight", "visual.transformer.resblocks.0.attn.in_proj_weight")
Shapes = Mapping[str, tuple[int, ...]]
_NOT_VISUAL = "visual."  # the vision mark ends as the text mark does
_WHOLE = {  # OpenAI's name: transformers'
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection.weight": "text_projection.weight",  # of some OpenCLIP files, as a layer
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_BLOCK = re.compile(r"^(visual\.)?transformer\.resblocks\.(\d+)\.(.+)$")
_IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_FUSED = re.compile(r"^attn\.in_proj_(weight|bias)$")


@dataclass(frozen=True)
class Place:
    """One weight: a tensor of a file, a third of its rows, or its transpose."""

    archive: Archive
    name: str
    third: int | None = None  # 0 queries, 1 keys, 2 values
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.archive.shapes[self.name]
        if self.transposed:
            return shape[::-1]
        return shape if self.third is None else (shape[0] // 3, *shape[1:])

    def read(self, dtype: torch.dtype) -> Tensor:
        whole = self.archive.read(self.name).dense(torch.device("cpu"), dtype)
        if self.transposed:
            return whole.mT.contiguous()
        return whole if self.third is None else whole.chunk(3)[self.third].clone()


def places_in(archives: Sequence[Archive]) -> dict[str, Place]:
    """Every weight of the first CLIP in these files, by transformers' names; empty where there is none."""
    found: dict[str, Place] = {}
    for archive in archives:
        found |= _hub_places(archive) or _openai_places(archive)
    return found


def towers_in(shapes: Shapes) -> set[str]:
    """Which of "text" and "vision" a file's tensors hold, perhaps beside other models'."""
    marks = {"text": (HUB[0], OPENAI[0]), "vision": (HUB[1], OPENAI[1])}
    bare = _bare(shapes).removesuffix("_model.")
    return {tower for tower in marks if tower == bare or any(_prefix(shapes, m) is not None for m in marks[tower])}


def activation_of(archive: Archive, places: Mapping[str, Place]) -> str:
    """Which activation a file without a config was trained with: OpenAI's own and copies of it, the quick one.

    OpenAI's files hold their input's sizes besides, which OpenCLIP's lack; under transformers' names only OpenAI's B and L
    are as small as this.
    """
    if any(key.endswith(("input_resolution", "context_length")) for key in archive.shapes):
        return "quick_gelu"
    if any(place.third is not None for place in places.values()):
        return "gelu"
    widths = {"text_model": 768, "vision_model": 1024}
    small = [places[f"{tower}.encoder.layers.0.layer_norm1.bias"].shape[0] <= width for tower, width in widths.items()
             if f"{tower}.encoder.layers.0.layer_norm1.bias" in places]  # fmt: skip
    return "quick_gelu" if all(small) else "gelu"


def _prefix(shapes: Shapes, mark: str) -> str | None:
    """What stands before a scheme's names; None where the mark is nowhere."""
    before = (key.removesuffix(mark) for key in shapes if key.endswith(mark))
    return next((each for each in before if mark.startswith(_NOT_VISUAL) or not each.endswith(_NOT_VISUAL)), None)


def _hub_places(archive: Archive) -> dict[str, Place]:
    prefixes = {prefix for mark in HUB if (prefix := _prefix(archive.shapes, mark)) is not None}
    tower = _bare(archive.shapes)
    if not prefixes and tower:
        own = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.", "final_layer_norm.")
        return {f"{tower if key.startswith(own) else ''}{key}": Place(archive, key) for key in archive.shapes}
    return {
        key.removeprefix(prefix): Place(archive, key)
        for prefix in sorted(prefixes)[:1]
        for key in archive.shapes
        if key.startswith(prefix)
    }


def _bare(shapes: Shapes) -> str:
    """The tower whose name a file leaves out, as transformers 5 saves one alone; "" where there is none such."""
    marks = {"text_model.": "embeddings.token_embedding.weight", "vision_model.": "embeddings.patch_embedding.weight"}
    found = (tower for tower, mark in marks.items() if mark in shapes)
    return next(found, "") if "encoder.layers.0.self_attn.q_proj.weight" in shapes else ""


def _openai_places(archive: Archive) -> dict[str, Place]:
    """A text tower and a vision tower may stand behind different prefixes ("text." of some OpenCLIP files)."""
    prefixes = dict.fromkeys(prefix for mark in OPENAI if (prefix := _prefix(archive.shapes, mark)) is not None)
    found: dict[str, Place] = {}
    for prefix in [*prefixes, *([""] if prefixes else [])]:
        for key in archive.shapes:
            if key.startswith(prefix):
                for ours, place in _translated(archive, key, key.removeprefix(prefix)):
                    found.setdefault(ours, place)
    return found


def _translated(archive: Archive, key: str, name: str) -> list[tuple[str, Place]]:
    """transformers' names for what OpenAI calls `name`; none for what is no weight of a CLIP's."""
    if name in _TRANSPOSED:
        return [(_TRANSPOSED[name], Place(archive, key, transposed=True))]
    if name in _WHOLE:
        return [(_WHOLE[name], Place(archive, key))]
    stem, _, ending = name.rpartition(".")
    if stem in _WHOLE:
        return [(f"{_WHOLE[stem]}.{ending}", Place(archive, key))]
    block = _BLOCK.match(name)
    return [] if block is None else _in_block(archive, key, block)


def _in_block(archive: Archive, key: str, block: re.Match[str]) -> list[tuple[str, Place]]:
    layer = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}."
    if fused := _FUSED.match(block[3]):
        return [
            (f"{layer}self_attn.{part}_proj.{fused[1]}", Place(archive, key, third=i)) for i, part in enumerate("qkv")
        ]
    stem, _, ending = block[3].rpartition(".")
    return [(f"{layer}{_IN_BLOCK[stem]}.{ending}", Place(archive, key))] if stem in _IN_BLOCK else []
