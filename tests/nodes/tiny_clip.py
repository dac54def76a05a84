"""A CLIP of random weights and a vocabulary of letters, as the files of a published one."""

import importlib
import json
import string

import torch
from pack import CORE
from safetensors.torch import save_file


def written(folder):
    """tiny.safetensors, vocab.json and merges.txt in `folder`; returns the first."""
    config, network = (importlib.import_module(f"{CORE.__name__}.clip.{name}") for name in ("config", "network"))
    letters = string.ascii_lowercase
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tower = {"width": 64, "layers": 2, "heads": 1, "mlp": 32}
    text = config.TextConfig(**tower, vocab_size=len(pieces), positions=16, end=len(pieces) - 1)
    vision = config.VisionConfig(**tower, side=16, patch=8)
    torch.manual_seed(0)
    made = network.ClipNetwork(config.ClipConfig(text=text, vision=vision, text_embed_dim=8, vision_embed_dim=8))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    save_file(made.state_dict(), folder / "tiny.safetensors")
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder / "tiny.safetensors"
