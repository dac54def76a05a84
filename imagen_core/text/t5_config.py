"""How large is a T5 encoder? From its config.json, or read off the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from .._settings_file import read_settings

DEFAULT_MAX_TOKENS = 512  # T5 was trained at 512; its relative positions have no hard end
MOST_LAYERS = 1000
ACTIVATIONS = ("relu", "gelu", "silu", "gelu_new")


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """The encoder's dimensions, named as in transformers' config.json."""

    vocab_size: int  # rows of the table of embeddings
    d_model: int  # width of a token, and so of a prompt's embeddings
    d_kv: int  # width of a head
    d_ff: int  # width inside of the feed-forward layers
    num_layers: int  # blocks, each attention and feed-forward
    num_heads: int  # d_kv times it need not be d_model
    relative_attention_num_buckets: int = 32  # distances that attention tells apart, both ways together
    relative_attention_max_distance: int = 128  # tokens; farther ones share the last bucket
    layer_norm_epsilon: float = 1e-6  # of T5's norm, which subtracts no mean
    prefix_ids: ClassVar[tuple[int, ...]] = ()  # T5 puts no mark before a text
    gated: bool = True  # T5 1.1: one of two feed-forward layers gates the other
    activation: str = "gelu_new"  # one of ACTIVATIONS
    pad_token_id: int = 0  # fills a batch of prompts up to the longest
    eos_token_id: int = 1  # </s>, the mark after a text

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
        for name in (*sizes, "relative_attention_num_buckets", "relative_attention_max_distance"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value < 2**31:
                raise ValueError(f"{name} is {value!r}: expected a whole number from 1")
        if self.num_layers > MOST_LAYERS:
            raise ValueError(f"num_layers is {self.num_layers}: T5-XXL has 24")
        near = self.relative_attention_num_buckets // 4  # distances with a bucket of their own
        if not 1 <= near < self.relative_attention_max_distance:
            raise ValueError(
                "relative_attention_num_buckets and _max_distance do not fit together (T5's are 32 and 128)"
            )
        for name in ("pad_token_id", "eos_token_id"):
            if type(getattr(self, name)) is not int or not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected a row of the table of {self.vocab_size}")
        if not isinstance(self.layer_norm_epsilon, (int, float)) or not 0 < self.layer_norm_epsilon < 1:
            raise ValueError(f"layer_norm_epsilon is {self.layer_norm_epsilon!r}: expected a small number such as 1e-6")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a text encoder's folder. Raises FileNotFoundError or ValueError naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a model's folder needs it")
    return read_settings(path)


def config_from_json(path: Path) -> T5Config:
    """Read config.json. Raises ValueError for another kind of model, or a value that is missing or no number."""
    content = read_json(path)
    kind = content.get("model_type", "t5")
    if kind != "t5":
        raise ValueError(f"{path} describes a {kind!r} model: Imagen reads prompts with a T5 encoder")
    words = str(content.get("feed_forward_proj", "relu")).split("-")
    activation = "gelu_new" if words == ["gated", "gelu"] else words[-1]
    if len(words) > 2 or words[0] not in ("gated", words[-1]) or activation not in ACTIVATIONS:
        raise ValueError(f"{path}: feed_forward_proj {'-'.join(words)!r} is not known; expected relu or gated-gelu")
    values = {field.name: content[field.name] for field in fields(T5Config) if content.get(field.name) is not None}
    values |= {"gated": words[0] == "gated", "activation": activation}
    return _config(path, values)


def _config(source: Path, values: dict[str, Any]) -> T5Config:
    try:
        return T5Config(**values)
    except (ValueError, TypeError) as error:  # TypeError: one that has no default is not there
        raise ValueError(f"{source} describes no T5 encoder: {error}; get the encoder's own file") from error


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], file: Path, epsilon: float = 1e-6) -> T5Config:
    """Read the dimensions off `shapes` (by the names of transformers): single files come without a config.json."""
    block = "encoder.block.0.layer.{}"
    attention, dense = block.format("0.SelfAttention"), block.format("1.DenseReluDense")
    needed = [f"{attention}.relative_attention_bias.weight", f"{attention}.q.weight", f"{dense}.wo.weight"]
    for key in ("shared.weight", *needed):
        if len(shapes.get(key, ())) != 2:
            raise ValueError(f"{file} lacks {key!r}: it is no T5 encoder; choose a T5 file, such as t5xxl_fp16")
    bias, queries, out = (shapes[key] for key in needed)
    gated = f"{dense}.wi_0.weight" in shapes
    blocks = {key.split(".")[2] for key in shapes if key.startswith("encoder.block.")}
    values = {
        "vocab_size": shapes["shared.weight"][0],
        "d_model": shapes["shared.weight"][1],
        "num_heads": bias[1],
        "relative_attention_num_buckets": bias[0],
        "d_kv": queries[0] // max(bias[1], 1),
        "d_ff": out[1],
        "num_layers": 1 + max(int(block) for block in blocks if block.isdecimal()),
        "layer_norm_epsilon": epsilon,
        "gated": gated,
        "activation": "gelu_new" if gated else "relu",
    }
    return _config(file, values)


def expected_shapes(config: T5Config) -> dict[str, tuple[int, ...]]:
    """Every weight that the encoder needs, by transformers' names, with its shape."""
    inner = config.num_heads * config.d_kv
    shapes = {"shared.weight": (config.vocab_size, config.d_model)}
    for i in range(config.num_layers):
        attention, dense = f"encoder.block.{i}.layer.0.", f"encoder.block.{i}.layer.1."
        shapes[f"{attention}layer_norm.weight"] = shapes[f"{dense}layer_norm.weight"] = (config.d_model,)
        shapes |= {f"{attention}SelfAttention.{name}.weight": (inner, config.d_model) for name in "qkv"}
        shapes[f"{attention}SelfAttention.o.weight"] = (config.d_model, inner)
        for name in ("wi_0", "wi_1") if config.gated else ("wi",):
            shapes[f"{dense}DenseReluDense.{name}.weight"] = (config.d_ff, config.d_model)
        shapes[f"{dense}DenseReluDense.wo.weight"] = (config.d_model, config.d_ff)
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    shapes[bias] = (config.relative_attention_num_buckets, config.num_heads)
    shapes["encoder.final_layer_norm.weight"] = (config.d_model,)
    return shapes
