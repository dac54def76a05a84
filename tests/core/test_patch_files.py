"""DiT and JiT from files laid out as published: the right network, number for number, and wrong files named.

Layouts are tested here, published weights were not: none can be fetched where this was written.
"""

import json

import pytest
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file, save_file

from imagen_core import inspect_checkpoint, load_checkpoint, read_spec
from imagen_core.checkpoints.readers.dit import DIFFUSERS_NAMES, NAMES, _diffusers_map
from imagen_core.checkpoints.readers.jit import CLASS_TOKENS_FROM
from imagen_core.checkpoints.readers.jit import DIFFUSERS_NAMES as JIT_DIFFUSERS_NAMES
from imagen_core.checkpoints.readers.jit import NAMES as JIT_NAMES
from imagen_core.checkpoints.renaming import renamed
from imagen_core.unets import build_unet
from imagen_core.unets.dit import DiTConfig
from imagen_core.unets.jit import JiTConfig
from imagen_core.unets.patch_transformer import grid_table

TINY_JIT = JiTConfig(
    side=32, patch_size=4, width=16, mlp_width=10, depth=12, heads=2, num_classes=3, bottleneck=5, class_tokens=2
)
LABELS = torch.tensor([1, 2])


def table_of(config):
    return grid_table(config.grid, config.grid, config.grid, config.width, like=torch.zeros(1))[None].clone()


# DiT beside diffusers'.


@pytest.fixture(scope="module")
def peer():
    """diffusers' DiT with random weights, its time's angles and small constants set to those of the original."""
    torch.manual_seed(0)
    network = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        out_channels=8,
        num_layers=3,
        sample_size=8,
        num_embeds_ada_norm=5,
        norm_eps=1e-6,
    )
    network.eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0, 0.15)
    embedder = network.transformer_blocks[0].norm1.emb
    for block in network.transformer_blocks:
        block.norm1.emb.load_state_dict(embedder.state_dict())
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return network


@pytest.fixture(scope="module")
def folder(peer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("DiT-tiny")
    peer.save_pretrained(folder / "transformer")
    return folder


def beside(peer, network):
    torch.manual_seed(1)
    x_t, times = torch.randn(2, 4, 8, 8), torch.tensor([[0, 1], [250, 500], [999, 998]])
    for time in times:
        theirs = peer(x_t, time, LABELS).sample
        ours = network(x_t, time.float(), network.encode_class(LABELS))
        torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)
    return theirs


@torch.no_grad()
def test_dit_is_diffusers(peer, folder):
    network, spec = load_checkpoint(folder)
    assert beside(peer, network).std() > 0.3
    assert (
        spec.unet_config == DiTConfig(side=8, width=24, mlp_width=96, depth=3, heads=2, num_classes=5)
        and spec.learned_variance
    )
    assert inspect_checkpoint(folder)["kind"] == "DiT stage" and inspect_checkpoint(folder)["naming"] == "diffusers"


def as_original(stored, depth):
    """diffusers' names -> Facebook's, q k v in one matrix, and the table of positions."""
    named = {}
    for ours, theirs in NAMES.items():
        for index in range(depth) if "*" in theirs else (0,):
            for kind in ("weight", "bias"):
                names = DIFFUSERS_NAMES[ours]
                parts = [
                    f"{name}.{kind}".replace("*", str(index))
                    for name in ((names,) if isinstance(names, str) else names)
                ]
                if parts[0] in stored:
                    named[f"{theirs}.{kind}".replace("*", str(index))] = torch.cat([stored[part] for part in parts])
    return named


@torch.no_grad()
def test_dit_as_its_authors_call_it_is_diffusers(peer, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("imagen_core.checkpoints.readers.dit", fromlist=["HEADS"]).HEADS, 24, 2)
    weights = as_original(peer.state_dict(), 3) | {"pos_embed": peer.pos_embed.pos_embed.clone()}
    save_file(weights, tmp_path / "dit.safetensors")
    network, spec = load_checkpoint(tmp_path / "dit.safetensors")
    beside(peer, network)
    assert spec.unet_config.side == 8
    weights["pos_embed"] += 0.1
    save_file(weights, tmp_path / "trained.safetensors")
    with pytest.raises(ValueError, match="trained.safetensors: 'pos_embed' holds trained positions"):
        load_checkpoint(tmp_path / "trained.safetensors")


def test_blocks_that_are_told_apart_are_named(folder, tmp_path):
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    key = "transformer_blocks.{}.norm1.emb.class_embedder.embedding_table.weight"
    weights[key.format(2)][0, 0] += 1
    place = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(weights, place)
    (tmp_path / "config.json").write_text((folder / "transformer" / "config.json").read_text())
    with pytest.raises(ValueError, match=f"{key.format(0)}.* differs from block to block"):
        load_checkpoint(place)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="24 wide.*how many heads"):
        read_spec(place)


# JiT: what its weights mean is held in test_patch_transformers.py; here, that each comes from where it should.


def as_published(network, naming):
    names = {"original": JIT_NAMES, "diffusers": JIT_DIFFUSERS_NAMES}[naming]
    prefix = "net." if naming == "original" else ""
    table, ours = renamed(network, names, prefix=prefix), network.state_dict()
    weights = {next(iter(entry.parts)): ours[key] for key, entry in table.items()}
    weights[f"{prefix}x_embedder.proj2.weight"] = ours["stem.weight"][..., None, None]
    weights[f"{prefix}in_context_posemb"] = ours["class_places"][None]
    weights[f"{prefix}pos_embed"] = table_of(network.config)
    return {key: value.clone().contiguous() for key, value in weights.items()}


@pytest.fixture(scope="module")
def jit():
    torch.manual_seed(0)
    network = build_unet(TINY_JIT).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0, 0.3)
    return network


@pytest.mark.parametrize("naming", ["original", "diffusers"])
def test_jit_comes_back(jit, naming, tmp_path):
    path = tmp_path / "jit.safetensors"
    save_file(as_published(jit, naming), path)
    network, spec = load_checkpoint(path)
    assert spec.unet_config == TINY_JIT and inspect_checkpoint(path)["naming"] == naming
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), jit.state_dict().values(), strict=True))
    assert spec.prediction_type == "x_0" and spec.schedule_config["towards_clean"]


def test_what_no_shape_tells_comes_from_the_settings(jit, tmp_path):
    weights = {key: value for key, value in as_published(jit, "diffusers").items() if "blocks.11." not in key}
    save_file(weights, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match="11 blocks.*in_context_start"):
        read_spec(tmp_path)
    settings = {"_class_name": "JiTTransformer2DModel", "in_context_start": 7}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert read_spec(tmp_path).unet_config.class_tokens_from == 7


# How many tensors a published file has, and of what sizes: counted from the published networks, on no memory.

PUBLISHED = {
    "JiT-B/16": (JiTConfig(), 183),
    "JiT-L/32": (
        JiTConfig(side=512, patch_size=32, width=1024, mlp_width=2730, depth=24, heads=16, class_tokens_from=8),
        351,
    ),
    "JiT-H/16": (JiTConfig(width=1280, mlp_width=3413, depth=32, heads=16, bottleneck=256, class_tokens_from=10), 463),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_jits_have_so_many_tensors(name):
    """14 a block; 15 others: patches 3, time 4, class 1, class tokens 1, positions 1, head 5."""
    config, tensors = PUBLISHED[name]
    assert config.class_tokens_from == CLASS_TOKENS_FROM[config.depth]
    with torch.device("meta"):
        network = build_unet(config)
    assert (
        len(renamed(network, JIT_NAMES)) + len(["in_context_posemb", "pos_embed"]) == tensors == 14 * config.depth + 15
    )


def test_a_published_dit_has_so_many_tensors():
    """10 a block and 12 others; as diffusers keeps it, 16 a block and 5 copies, and 6 others."""
    with torch.device("meta"):
        network = build_unet(DiTConfig())
        theirs = {key: tuple(value.shape) for key, value in DiTTransformer2DModel(out_channels=8).state_dict().items()}
    assert len(renamed(network, NAMES)) + len(["pos_embed"]) == 10 * 28 + 12
    stored = type("Nowhere", (), {"path": "DiT-XL-2-256", "shapes": theirs})()
    ours = {
        key: shape for entry in _diffusers_map(network, stored=stored).values() for key, shape in entry.parts.items()
    }
    assert ours == theirs
