"""A tiny CLIP with random weights as transformers saves it, and the same under other schemes' names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.'!"
MERGES = ["r e", "re d</w>", "f o", "fo x</w>"]
MARKS = ("<|startoftext|>", "<|endoftext|>")


def save_clip(folder: Path, transformers, activation: str = "quick_gelu", **projection) -> Path:
    """A CLIPModel of 32 px with its tokenizer (vocab.json, merges.txt), seeded."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *(merge.replace(" ", "") for merge in MERGES), *MARKS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    text = {
        "hidden_size": 128,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "vocab_size": len(pieces),
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
        "hidden_act": activation,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "hidden_act": activation,
    }
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    model = transformers.CLIPModel(config)
    for weight in model.parameters():  # far from the tiny ones it begins with, so that layers matter
        weight.data += 0.1 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


def openai_names(folder: Path) -> dict[str, torch.Tensor]:
    """The weights as OpenAI's and OpenCLIP's files name and lay them out."""
    weights = load_file(folder / "model.safetensors")
    named = {
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "text_projection": weights["text_projection.weight"].T.contiguous(),
        "visual.proj": weights["visual_projection.weight"].T.contiguous(),
        "visual.class_embedding": weights["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": weights["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": weights["vision_model.embeddings.patch_embedding.weight"],
        "logit_scale": weights["logit_scale"],
    }
    for part in ("weight", "bias"):
        named[f"ln_final.{part}"] = weights[f"text_model.final_layer_norm.{part}"]
        named[f"visual.ln_pre.{part}"] = weights[f"vision_model.pre_layrnorm.{part}"]
        named[f"visual.ln_post.{part}"] = weights[f"vision_model.post_layernorm.{part}"]
    pattern = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
    theirs = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    theirs["self_attn.out_proj"] = "attn.out_proj"
    for key, weight in weights.items():
        if (found := pattern.fullmatch(key)) is None:
            continue
        tower, layer, name, part = found.groups()
        block = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{layer}."
        if name in theirs:
            named[f"{block}{theirs[name]}.{part}"] = weight
        elif name == "self_attn.q_proj":
            stem = f"{tower}_model.encoder.layers.{layer}.self_attn"
            named[f"{block}attn.in_proj_{part}"] = torch.cat([weights[f"{stem}.{p}_proj.{part}"] for p in "qkv"])
    return named
