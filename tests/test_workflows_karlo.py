"""Does the shipped Karlo graph draw, once folders of the published layout lie where a user would put them?

Tiny ones with random weights: what is asked here is the way from graph to picture; test_karlo.py asks for the numbers.
"""

import json
import string

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from imagen_core.checkpoints.karlo_keys import decoder_map, upsampler_map
from imagen_core.checkpoints.readers.karlo_prior import prior_map
from imagen_core.clip.config import ClipConfig, TextConfig, VisionConfig
from imagen_core.clip.network import ClipNetwork
from imagen_core.priors.network import PriorConfig, PriorNetwork
from imagen_core.unets.karlo_decoder import KarloDecoder, KarloDecoderConfig
from imagen_core.unets.karlo_upsampler import KarloUpsampler, KarloUpsamplerConfig
from imagen_host.cli import main

WIDTH, EMBED = 64, 16
SETTINGS = {  # what tells a folder of the pipeline from others
    "prior": {"_class_name": "PriorTransformer", "num_attention_heads": 2},
    "decoder": {"_class_name": "UNet2DConditionModel", "class_embed_type": "identity", "attention_head_dim": 32},
    "text_proj": {"_class_name": "UnCLIPTextProjModel"},
    "super_res_first": {"_class_name": "UNet2DModel", "in_channels": 6, "add_attention": False},
    "super_res_last": {"_class_name": "UNet2DModel", "in_channels": 6, "add_attention": False},
}
QUICK = ["Prior.steps=2", "Decoder.steps=3", "Decoder.width=16", "Decoder.height=16", "Decoder.guidance_scale=1.5"]


def save(folder, weights, settings):
    folder.mkdir(parents=True)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings))


def parts():
    """The weights of each folder, by diffusers' names."""
    decoder = KarloDecoderConfig(**KarloDecoderConfig.tiny, text_embed_dim=WIDTH, image_embed_dim=EMBED)
    prior = PriorConfig(embed_dim=EMBED, text_embed_dim=WIDTH, width=64, depth=2, heads=2)
    with torch.device("meta"):
        maps = {
            "prior": prior_map(PriorNetwork(prior), "diffusers"),
            "decoder": decoder_map(KarloDecoder(decoder), "diffusers"),
            "super_res_first": upsampler_map(
                KarloUpsampler(KarloUpsamplerConfig(**KarloUpsamplerConfig.tiny)), "diffusers"
            ),
        }
    torch.manual_seed(0)
    for name, key_map in maps.items():
        shapes = {key: shape for entry in key_map.values() for key, shape in entry.parts.items()}
        weights = {key: 0.1 * torch.randn(shape) for key, shape in shapes.items()}
        for beside in ("text_proj", "super_res_last"):
            apart = {key.removeprefix(f"{beside}."): weights.pop(key) for key in shapes if key.startswith(f"{beside}.")}
            if apart:
                yield beside, apart
        yield name, weights


def save_clip(folder):
    """As openai/clip-vit-large-patch14 is kept, small."""
    pieces = [
        *string.ascii_lowercase,
        *(f"{letter}</w>" for letter in string.ascii_lowercase),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    text = TextConfig(width=WIDTH, layers=1, heads=1, mlp=32, vocab_size=len(pieces), end=len(pieces) - 1)
    vision = VisionConfig(width=64, layers=1, heads=1, mlp=32, side=16, patch=8)
    network = ClipNetwork(ClipConfig(text=text, vision=vision, text_embed_dim=EMBED, vision_embed_dim=EMBED))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    tower = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    told = tower | {"vocab_size": len(pieces), "max_position_embeddings": 77, "eos_token_id": len(pieces) - 1}
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    settings = {"model_type": "clip", "text_config": told, "vision_config": tower | {"image_size": 16, "patch_size": 8}}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, weights in parts():
        save(folder / "karlo-v1-alpha" / name, weights, SETTINGS[name])
    save_clip(folder / "clip-vit-large-patch14")
    return folder


def test_words_change_the_picture(models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEN_MODELS", str(models))
    pictures = []
    for text in ("a fox", "A Fox", "tea"):
        told = [part for change in (*QUICK, f"Prompt.text={text}") for part in ("--set", change)]
        code = main(["run", "karlo_256", *told, "--out", ".", "--json", "--quiet"])
        report, said = capsys.readouterr()
        assert code == 0, said
        (path,) = json.loads(report)["images"]
        pictures.append(np.asarray(Image.open(path).convert("RGB")).astype(int))
    fox, again, tea = pictures
    assert fox.shape == (64, 64, 3) and (fox == again).all() and abs(fox - tea).max() > 2


def test_files_that_are_not_there_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "karlo_256"]) == 2
    said = capsys.readouterr().err
    for title, file in (
        ("Load CLIP L/14", "clip-vit-large-patch14"),
        ("Load the prior", "karlo-v1-alpha/prior"),
        ("Load the decoder", "karlo-v1-alpha/decoder"),
        ("Load the upsampler", "karlo-v1-alpha/super_res_first"),
    ):
        assert any(title in line and file in line for line in said.splitlines())
