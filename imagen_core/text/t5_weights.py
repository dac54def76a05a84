"""How does a T5 encoder get from its files into memory, without transformers ever looking for a network?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

if TYPE_CHECKING:
    from transformers import T5EncoderModel

DEFAULT_MAX_TOKENS = 512  # T5 was trained at 512; its relative positions have no hard end


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or its shards model-00001-of-0000n.safetensors."""
    files = [folder / "model.safetensors"] if (folder / "model.safetensors").is_file() else []
    files = files or sorted(folder.glob("model-*-of-*.safetensors"))
    if files:
        return files
    if any(folder.glob("*.bin")):
        raise ValueError(f"{folder} holds weights as a pickle (.bin), which is refused; get model.safetensors instead.")
    raise FileNotFoundError(f"{folder} has no model.safetensors; put the encoder's weights there.")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a text encoder's folder needs it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); download or copy it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected an object; download or copy it again.")
    return content


def read_config(path: Path) -> dict[str, Any]:
    config = _read_json(path)
    kind = config.get("model_type", "t5")
    if kind != "t5":
        raise ValueError(f"{path} describes a {kind!r} model; Imagen reads prompts with a T5 encoder.")
    return config


def max_tokens(folder: Path) -> int:
    """The tokenizer's stated limit; absent, or "very large" for none, it is DEFAULT_MAX_TOKENS."""
    path = folder / "tokenizer_config.json"
    stated = _read_json(path).get("model_max_length") if path.is_file() else None
    return int(stated) if isinstance(stated, (int, float)) and 1 <= stated <= 100_000 else DEFAULT_MAX_TOKENS


def load_model(files: list[Path], config: dict[str, Any], dtype: torch.dtype) -> T5EncoderModel:
    """The encoder, its weights mapped from `files` one by one (so memory holds it once)."""
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        model = T5EncoderModel(T5Config(**config))
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    weights: dict[str, Tensor] = {}
    for file in files:
        weights.update(_read_weights(file, expected, dtype))
    embedding = weights.get("shared.weight", weights.get("encoder.embed_tokens.weight"))
    if embedding is not None:  # a file stores the tied table once, under either name
        weights["shared.weight"] = weights["encoder.embed_tokens.weight"] = embedding
    absent = expected.keys() - weights.keys()
    if absent:
        raise ValueError(
            f"{files[0]} lacks {len(absent)} weights of its config.json, first {min(absent)!r}; get it again."
        )
    model.load_state_dict(weights, assign=True)
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


def _read_weights(file: Path, expected: dict[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
    """The encoder's tensors of one file; others (a decoder's) are not read."""
    with opened(file) as archive:
        stored = set(archive.keys())
        return {key: _read_weight(file, archive, key, expected[key], dtype, stored) for key in expected.keys() & stored}


def _read_weight(
    file: Path, archive: Any, key: str, expected: tuple[int, ...], dtype: torch.dtype, stored: set[str]
) -> Tensor:
    shape = tuple(archive.get_slice(key).get_shape())
    if shape != expected:
        raise ValueError(f"{file}: {key!r} has shape {shape}, the encoder asks for {expected}; get matching files.")
    weight = archive.get_tensor(key)
    scale = key.removesuffix(".weight") + ".scale_weight"  # ComfyUI's "fp8 scaled" files
    if scale in stored:
        weight = weight.float() * archive.get_tensor(scale).float()
    # T5's feed-forward output overflows in fp16 (transformers keeps it in fp32 too).
    precise = dtype == torch.float16 and ".wo." in key
    return weight.to(torch.float32 if precise else dtype)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors archive, or one clear error; never a pickle."""
    if not file.is_file():
        raise FileNotFoundError(f"No text encoder at {file}; check the name, or put the file there.")
    try:
        with safe_open(file, framework="pt", device="cpu") as archive:
            yield archive
    except SafetensorError as error:
        raise ValueError(
            f"{file} is truncated, or no .safetensors file ({error}); download or copy it again."
        ) from error


def config_from_weights(file: Path) -> dict[str, Any]:
    """A T5 encoder's dimensions, read off the shapes in a single file (ComfyUI users have no config.json)."""
    with opened(file) as archive:
        keys = set(archive.keys())
        block = "encoder.block.0.layer.{}"
        attention, dense = block.format("0.SelfAttention"), block.format("1.DenseReluDense")
        needed = [f"{attention}.relative_attention_bias.weight", f"{attention}.q.weight", f"{dense}.wo.weight"]
        absent = [key for key in ("shared.weight", *needed) if key not in keys]
        if absent:
            raise ValueError(f"{file} lacks {absent[0]!r}: it is no T5 encoder; choose a T5 file, such as t5xxl_fp16.")
        bias, queries, out = (archive.get_slice(key).get_shape() for key in needed)
        vocabulary, width = archive.get_slice("shared.weight").get_shape()
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "num_heads": bias[1],
        "relative_attention_num_buckets": bias[0],
        "d_kv": queries[0] // bias[1],
        "d_ff": out[1],
        "num_layers": 1 + max(int(key.split(".")[2]) for key in keys if key.startswith("encoder.block.")),
        "feed_forward_proj": "gated-gelu" if f"{dense}.wi_0.weight" in keys else "relu",
    }
