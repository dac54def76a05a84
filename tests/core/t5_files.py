"""Tiny T5 encoders in every kind of file that people have: shared by the tests of the text encoder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5EncoderModel

WORDS = ("a", "red", "cube", "blue", "sphere", "two", "rings")
LLAMA_CPP = (  # published .gguf files use these names
    (r"^shared", "token_embd"),
    (r"^encoder\.final_layer_norm", "enc.output_norm"),
    (r"^encoder\.block\.(\d+)\.", r"enc.blk.\1."),
    (r"layer\.0\.SelfAttention\.relative_attention_bias", "attn_rel_b"),
    (r"layer\.0\.SelfAttention\.", "attn_"),
    (r"layer\.0\.layer_norm", "attn_norm"),
    (r"layer\.1\.layer_norm", "ffn_norm"),
    (r"layer\.1\.DenseReluDense\.wi_0", "ffn_gate"),
    (r"layer\.1\.DenseReluDense\.wi(_1)?\.", "ffn_up."),
    (r"layer\.1\.DenseReluDense\.wo", "ffn_down"),
)


def make_tokenizer() -> Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -1.0) for word in WORDS]
    pieces += [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(64 - len(pieces))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def make_folder(path: Path, *, width: int = 32, feed_forward: str = "gated-gelu") -> Path:
    """A tiny random T5 in a Hugging Face folder. Width 256 for quantisations that work in blocks of 256."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=64,
        d_model=width,
        d_kv=width // 4,
        d_ff=2 * width,
        num_layers=2,
        num_heads=4,
        feed_forward_proj=feed_forward,
    )
    T5EncoderModel(config).eval().save_pretrained(path)
    make_tokenizer().save(str(path / "tokenizer.json"))
    return path


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def is_matrix(name: str, value: torch.Tensor) -> bool:
    return value.ndim == 2 and "block" in name and "bias" not in name


def plain(folder: Path, file: Path, dtype: torch.dtype, *, keep_wo: bool = False) -> Path:
    """All weights cast, as t5xxl_fp16 and t5xxl_fp8_e4m3fn are; `keep_wo` leaves `wo` in fp32 as the hub's fp16 does."""
    kept = {
        name: value if keep_wo and ".wo." in name else value.to(dtype) for name, value in weights_of(folder).items()
    }
    save_file(kept, file)
    return file


def scaled_fp8(folder: Path, file: Path, *, suffix: str = ".scale_weight", rows: bool = False, skip: str = "") -> Path:
    """As ComfyUI's "fp8 scaled" files: each matrix divided by a scale, and the marker `scaled_fp8`."""
    kept = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)} if suffix == ".scale_weight" else {}
    for name, value in weights_of(folder).items():
        if is_matrix(name, value):
            scale = (value.abs().amax(1) if rows else value.abs().max()) / 448  # the largest float8_e4m3fn
            if name != skip:
                kept[name.replace(".weight", suffix)] = scale
            value = (value / (scale[:, None] if rows else scale)).to(torch.float8_e4m3fn)
        kept[name] = value.clone()
    save_file(kept, file)
    return file


def write_gguf(
    folder: Path,
    file: Path,
    kind: str,
    *,
    architecture: str = "t5encoder",
    names: str = "llama.cpp",
    vocabulary: dict | None = None,
) -> Path:
    """A .gguf with its matrices quantised as `kind` ("Q8_0"), and what llama.cpp leaves in floats in F32 or F16."""
    writer = gguf.GGUFWriter(os.fspath(file), architecture)
    writer.add_array("imagen.test", [1, 2, 3])
    writer.add_layer_norm_rms_eps(1e-6)
    for key, value in (vocabulary or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_array)(f"tokenizer.ggml.{key}", value)
    for name, value in weights_of(folder).items():
        stored = gguf_name(name) if names == "llama.cpp" else name
        if is_matrix(name, value):
            quantisation = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(stored, quantise(value.numpy(), kind), raw_dtype=quantisation)
        else:
            half = value.ndim == 2
            writer.add_tensor(stored, value.half().numpy() if half else value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def gguf_name(name: str) -> str:
    for pattern, replacement in LLAMA_CPP:
        name = re.sub(pattern, replacement, name)
    return name


def quantise(values: np.ndarray, kind: str) -> np.ndarray:
    """The gguf package's own quantisation, or, for the K types that it only reads, the plainest one that fits them."""
    if kind in ("Q4_K", "Q5_K"):
        return _quantise_k(values, int(kind[1]))
    return gguf.quantize(values, gguf.GGMLQuantizationType[kind])


def _quantise_k(values: np.ndarray, bits: int) -> np.ndarray:
    """Blocks of 256: d and dmin in fp16; 8 sub-blocks with 6-bit scale and minimum; 4 or 5 bits a weight."""
    rows, columns = values.shape
    sub = values.reshape(-1, 8, 32).astype(np.float32)  # blocks, sub-blocks, weights
    lowest = np.minimum(sub.min(2), 0)
    span = (sub.max(2) - lowest) / (2**bits - 1)
    d, dmin = span.max(1) / 63, -lowest.min(1) / 63
    d16, dmin16 = d.astype(np.float16), dmin.astype(np.float16)
    scale = np.clip(np.rint(span / d16[:, None].astype(np.float32)), 1, 63).astype(np.uint8)
    minimum = np.clip(np.rint(-lowest / dmin16[:, None].astype(np.float32)), 0, 63).astype(np.uint8)
    step = d16[:, None].astype(np.float32) * scale
    offset = dmin16[:, None].astype(np.float32) * minimum
    levels = np.clip(np.rint((sub + offset[..., None]) / step[..., None]), 0, 2**bits - 1).astype(np.uint8)
    packed = np.zeros((len(sub), 12), np.uint8)  # 8 scales and 8 minima of 6 bits
    packed[:, :4] = scale[:, :4] | (scale[:, 4:] >> 4 << 6)
    packed[:, 4:8] = minimum[:, :4] | (minimum[:, 4:] >> 4 << 6)
    packed[:, 8:] = (scale[:, 4:] & 15) | (minimum[:, 4:] & 15) << 4
    low = levels & 15
    nibbles = (low[:, 0::2] | low[:, 1::2] << 4).reshape(len(sub), 128)
    parts = [d16.view(np.uint8).reshape(-1, 2), dmin16.view(np.uint8).reshape(-1, 2), packed]
    if bits == 5:
        fifth = levels >> 4  # one bit a weight: bit i of byte j is weight j of sub-block i
        parts.append((fifth << np.arange(8, dtype=np.uint8)[None, :, None]).sum(1).astype(np.uint8))
    return np.concatenate([*parts, nibbles], 1).reshape(rows, -1)
