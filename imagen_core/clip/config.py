"""How large are a CLIP's towers? From a config.json, or from the shapes in a single file (arXiv 2103.00020, section 2.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..text.t5_config import MOST_LAYERS, read_json

ACTIVATIONS = ("quick_gelu", "gelu")
KINDS = ("clip", "clip_text_model", "clip_vision_model")  # config.json's model_type
END = 49407  # <|endoftext|>, which old configs call 2
HEADS = {768: 12, 1024: 16, 1280: 16, 1408: 16, 1664: 16}  # of published vision towers by width; others are 64 wide
SIZES = {  # ours: transformers'
    "width": "hidden_size",
    "mlp": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
    "vocab_size": "vocab_size",
    "positions": "max_position_embeddings",
    "end": "eos_token_id",
    "side": "image_size",
    "patch": "patch_size",
}
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """A transformer of pre-norm blocks."""

    width: int  # of a token inside
    layers: int  # blocks
    heads: int  # width is a multiple of it
    mlp: int  # width of the feed-forward's hidden layer
    activation: str = "quick_gelu"  # OpenAI's weights; "gelu" in OpenCLIP's: the other one is a silent error
    epsilon: float = 1e-5  # of the layer norms

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "mlp"):
            self._check_number(name)
        if self.layers > MOST_LAYERS:
            raise ValueError(f"num_hidden_layers is {self.layers}: CLIP's largest tower has 48")
        if self.width % self.heads:
            raise ValueError(f"hidden_size {self.width} is no multiple of num_attention_heads {self.heads}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {self.activation!r}: expected one of {', '.join(ACTIVATIONS)}")

    def _check_number(self, name: str) -> None:
        value = getattr(self, name)
        if type(value) is not int or not 1 <= value < 2**31:
            raise ValueError(f"{SIZES[name]} is {value!r}: expected a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """The tower that reads; the defaults are those of ViT-B/32."""

    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp: int = 2048
    vocab_size: int = 49408  # rows of the table of embeddings
    positions: int = 77  # the longest text, its two marks included
    end: int = END  # whose place in the last layer is the text's

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("vocab_size")
        self._check_number("positions")
        if type(self.end) is not int or not 0 <= self.end < self.vocab_size:
            raise ValueError(f"eos_token_id is {self.end!r}: expected a row of the table of {self.vocab_size}")


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """The tower that looks; the defaults are those of ViT-B/32."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    side: int = 224  # of the square that it sees, in pixels
    patch: int = 32  # of a token

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("side")
        self._check_number("patch")
        if self.side % self.patch:
            raise ValueError(f"image_size {self.side} is no multiple of patch_size {self.patch}")


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """What of a CLIP there is: a text encoder or a vision encoder alone, or both."""

    text: TextConfig | None = None  # None: the file cannot read
    vision: VisionConfig | None = None  # None: it cannot look
    text_embed_dim: int | None = None  # what the text's projection puts out; None for a file without one
    vision_embed_dim: int | None = None  # and the picture's
    scaled: bool = False  # whether the file knows its logit_scale
    noise_aware: bool = False  # trained on noisy pictures too, as GLIDE's was: it guides by x_t itself


def clip_config(shapes: Shapes, *, file: Path | None = None, activation: str = "quick_gelu") -> ClipConfig:
    """From a CLIP's shapes by transformers' names, and what else its config.json at `file` says.

    activation: of a file without a config.json. Raises ValueError naming `file` and the setting.
    """
    content = {} if file is None else read_json(file)
    kind = content.get("model_type", "clip")
    towers = {}
    for name, (mark, make, measure) in _TOWERS.items():
        if mark in shapes:
            told = content if kind == f"clip_{name}_model" else content.get(f"{name}_config") or {}
            stated = {"activation": activation} | measure(shapes) if file is None else _stated(told, make)
            towers[name] = _made(make, stated, file)
    projections = {
        "text_embed_dim": shapes.get("text_projection.weight", (None,))[0],
        "vision_embed_dim": shapes.get("visual_projection.weight", (None,))[0],
    }
    aware = content.get("noise_aware") is True
    return ClipConfig(**towers, **projections, scaled="logit_scale" in shapes, noise_aware=aware)


def _stated(told: Mapping[str, Any], make: type[TowerConfig]) -> dict[str, Any]:
    names = {field.name for field in fields(make)}
    stated = {ours: told[theirs] for ours, theirs in SIZES.items() if ours in names and told.get(theirs) is not None}
    if stated.get("end") == 2:  # transformers took the largest id for the end while its configs said so
        stated["end"] = stated.get("vocab_size", END + 1) - 1
    return stated


def _made(make: type[TowerConfig], values: Mapping[str, Any], file: Path | None) -> TowerConfig:
    try:
        return make(**values)
    except ValueError as error:
        raise ValueError(f"{file or 'this file'} describes no CLIP: {error}; get the model's own file") from error


def _block(shapes: Shapes, tower: str) -> dict[str, int]:
    """What both towers' shapes say."""
    layers = {key.split(".")[3] for key in shapes if key.startswith(f"{tower}.encoder.layers.")}
    mlp, width = shapes[f"{tower}.encoder.layers.0.mlp.fc1.weight"]
    return {"width": width, "layers": len(layers), "mlp": mlp}


def _text(shapes: Shapes) -> dict[str, int]:
    sizes, (vocabulary, width) = _block(shapes, "text_model"), shapes["text_model.embeddings.token_embedding.weight"]
    positions = shapes["text_model.embeddings.position_embedding.weight"][0]
    sizes |= {"heads": max(1, width // 64), "vocab_size": vocabulary, "positions": positions, "end": vocabulary - 1}
    return sizes


def _vision(shapes: Shapes) -> dict[str, int]:
    sizes, patch = _block(shapes, "vision_model"), shapes["vision_model.embeddings.patch_embedding.weight"][-1]
    places = shapes["vision_model.embeddings.position_embedding.weight"][0] - 1  # the first is the class token's
    heads = HEADS.get(sizes["width"], max(1, sizes["width"] // 64))
    return {**sizes, "heads": heads, "patch": patch, "side": patch * math.isqrt(max(places, 1))}


_TOWERS = {
    "text": ("text_model.encoder.layers.0.mlp.fc1.weight", TextConfig, _text),
    "vision": ("vision_model.encoder.layers.0.mlp.fc1.weight", VisionConfig, _vision),
}
