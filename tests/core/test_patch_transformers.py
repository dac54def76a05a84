"""DiT and JiT as networks: DiT beside diffusers', JiT beside the paper written down once more, and what both promise.

Layouts of published files are held in test_dit_files.py and test_jit_files.py.
"""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb, get_2d_sincos_pos_embed

from imagen_core.conditioning import Signals, TextEmbeds, joined
from imagen_core.unets import build_unet, unet_config_from_dict, unet_config_to_dict
from imagen_core.unets.dit import DiTConfig
from imagen_core.unets.jit import JiTConfig, grid_rotation, rotated
from imagen_core.unets.patch_transformer import grid_table

CONFIGS = {"dit": DiTConfig(**DiTConfig.tiny), "jit": JiTConfig(**JiTConfig.tiny)}


def randomised(config, seed=0, std=0.2):
    """A network none of whose weights is zero or one, so that everything shows in the output."""
    torch.manual_seed(seed)
    network = build_unet(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        parameter.normal_(1.0 if "norm" in name else 0.0, std)
    return network


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


@pytest.fixture
def network(config):
    return randomised(config)


def noisy(network, batch=2, size=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    size = size or (network.config.side,) * 2
    return torch.randn(batch, network.config.in_channels, *size, generator=generator), torch.linspace(0.9, 0.1, batch)


def run(network, labels=(1, 4), **inputs):
    x_t, time = noisy(network, **inputs)
    return network(x_t, time, network.encode_class(torch.tensor(labels)))


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


# JiT once more, from the paper and nothing of ours: numpy, float64, complex numbers turn the pairs.


def silu(x):
    return x / (1 + np.exp(-x))


def rms(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight


def linear(x, w, key):
    return x @ w[f"{key}.weight"].T + w.get(f"{key}.bias", 0.0)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def place_rotations(side, head):
    """exp(i angle) of each position (side*side head/2): the first half of the pairs by row, the second by column."""
    rate = 10000.0 ** -(np.arange(head // 4) / (head // 4))
    return np.array(
        [np.exp(1j * np.concatenate([row * rate, column * rate])) for row in range(side) for column in range(side)]
    )


def attention(x, w, key, heads, turns):
    queries, keys, values = np.split(linear(x, w, f"{key}.query"), 3, axis=-1)
    read = []
    for q, k, v in zip(*(np.split(part, heads, axis=-1) for part in (queries, keys, values)), strict=True):
        q, k = rms(q, w[f"{key}.query_norm.weight"]), rms(k, w[f"{key}.key_norm.weight"])
        q, k = ((part[:, ::2] + 1j * part[:, 1::2]) * turns for part in (q, k))
        read.append(softmax((q @ k.conj().T).real / math.sqrt(v.shape[-1])) @ v)
    return linear(np.concatenate(read, axis=-1), w, f"{key}.out")


def jit_of_the_paper(network, x_t, time, label):
    """One picture (c h w), its time and class number -> x_0 (c h w)."""
    config, w = network.config, {key: value.double().numpy() for key, value in network.state_dict().items()}
    p, side = config.patch_size, config.side // config.patch_size
    angles = time * 10000.0 ** -(np.arange(128) / 128)
    embedding = linear(np.concatenate([np.cos(angles), np.sin(angles)]), w, "time_embedding.in_layer")
    label = w["class_embedding.weight"][label]
    told = silu(linear(silu(embedding), w, "time_embedding.out_layer") + label)
    patches = np.stack(
        [x_t[:, r * p : r * p + p, c * p : c * p + p].reshape(-1) for r in range(side) for c in range(side)]
    )
    x = linear(patches @ w["squeeze.weight"].reshape(config.bottleneck, -1).T, w, "stem")
    x = x + get_2d_sincos_pos_embed(config.width, side, base_size=side, output_type="pt").numpy()
    turns = place_rotations(side, config.width // config.heads)
    for index in range(config.depth):
        if index == config.class_tokens_from:
            x = np.concatenate([label + w["class_places"], x])
            turns = np.concatenate([np.ones((config.class_tokens, turns.shape[1])), turns])
        key = f"blocks.{index}"
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = np.split(linear(told, w, f"{key}.modulation"), 6)
        normed = rms(x, w[f"{key}.in_norm.weight"]) * (1 + scale) + shift
        x = x + gate * attention(normed, w, key, config.heads, turns)
        normed = rms(x, w[f"{key}.mlp_norm.weight"]) * (1 + mlp_scale) + mlp_shift
        opened, hidden = np.split(linear(normed, w, f"{key}.mlp.gate_hidden"), 2, axis=-1)
        x = x + mlp_gate * linear(silu(opened) * hidden, w, f"{key}.mlp.out")
    shift, scale = np.split(linear(told, w, "head.modulation"), 2)
    drawn = linear(rms(x[config.class_tokens :], w["head.norm.weight"]) * (1 + scale) + shift, w, "head.out")
    return drawn.reshape(side, side, p, p, -1).transpose(4, 0, 2, 1, 3).reshape(-1, config.side, config.side)


@pytest.mark.parametrize("change", [{}, {"class_tokens_from": 0}, {"patch_size": 2, "heads": 1, "bottleneck": 24}])
def test_jit_is_the_papers(change):
    network = randomised(dataclasses.replace(CONFIGS["jit"], depth=3, **change))
    x_t, time = noisy(network)
    ours = run(network)
    for i, label in enumerate((1, 4)):
        theirs = jit_of_the_paper(network, x_t[i].double().numpy(), float(time[i]), label)
        np.testing.assert_allclose(ours[i].numpy(), theirs, atol=5e-5)


@pytest.mark.parametrize("side", [7, 10])
def test_positions_are_those_of_diffusers(side):
    """Also of a grid that the network was not trained on, which is laid over the one that it was: here of 7 a side."""
    ours, theirs = (
        grid_table(side, side, 7, 24, like=torch.zeros(1)),
        get_2d_sincos_pos_embed(24, side, base_size=7, output_type="pt"),
    )
    torch.testing.assert_close(ours, theirs.float(), atol=1e-6, rtol=0)


def test_rotation_is_that_of_diffusers():
    cos, sin = grid_rotation(3, 5, 5, 2, 16, torch.float32, torch.device("cpu"))
    queries = torch.randn(2, 4, 2 + 15, 16)
    pairs = tuple(part.repeat_interleave(2, dim=1) for part in (cos, sin))
    close(rotated(queries, (cos, sin)), apply_rotary_emb(queries, pairs, use_real_unbind_dim=-1))
    assert torch.equal(rotated(queries, (cos, sin))[:, :, :2], queries[:, :, :2])


@pytest.mark.parametrize("size", [(16, 16), (13, 16), (16, 22), (5, 3), (1, 1)])
def test_output_has_the_input_size(network, size):
    out = run(network, size=size)
    assert out.shape == (2, network.config.out_channels, *size)
    assert torch.isfinite(out).all() and out.std() > 0


def test_starts_at_zero(config):
    assert run(build_unet(config)).abs().max() == 0


def test_images_of_a_batch_do_not_touch(network):
    x_t, time = noisy(network)
    told = network.encode_class(torch.tensor([1, 4]))
    both = network(x_t, time, told)
    close(network(x_t[1:], time[1:], network.encode_class(torch.tensor([4]))), both[1:])
    x_t[0] = 7.0
    close(network(x_t, time, told)[1], both[1])


def test_class_and_time_are_told(network):
    x_t, time = noisy(network)
    out = run(network)
    assert (run(network, labels=(2, 4))[0] - out[0]).abs().max() > 1e-3
    told = network.encode_class(torch.tensor([1, 4]))
    assert (network(x_t, time + 0.1, told) - out).abs().max() > 1e-3
    none = network.encode_class()
    assert torch.equal(none.vector[0], network.class_embedding.weight[network.config.num_classes])
    both = joined([told, none])
    close(network(x_t[[0, 1, 0]], time[[0, 1, 0]], both)[:2], out)


def test_class_tokens_matter(network):
    if isinstance(network.config, JiTConfig):
        out = run(network)
        network.class_places.add_(1.0)
        assert (run(network) - out).abs().max() > 1e-3


def test_what_is_told_wrongly_is_named(network):
    x_t, time = noisy(network)
    with pytest.raises(ValueError, match="told none"):
        network(x_t, time, Signals())
    for wrong in (5, -1):
        with pytest.raises(ValueError, match="no class of this network: it has 5, 0 to 4"):
            network.encode_class(torch.tensor([0, wrong]))
    with pytest.raises(ValueError, match="without text"):
        network.encode_text(TextEmbeds.null(1, 8))


@pytest.mark.parametrize("change", [{"width": 18}, {"heads": 0}, {"patch_size": 3}, {"text_embed_dim": 8}])
def test_settings_that_make_no_network_are_named(config, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(config, **change)


def test_settings_survive_json(config):
    assert unet_config_from_dict(json.loads(json.dumps(unet_config_to_dict(config)))) == config


def test_training_reaches_every_parameter(config):
    network = randomised(config).train().requires_grad_(True)
    with torch.inference_mode():
        run(network)  # leaves tables behind that training has to be able to use
    run(network).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert idle == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(network, config, dtype):
    exact = run(network)
    half = randomised(config).to(dtype)
    x_t, time = noisy(half)
    with torch.inference_mode():
        out = half(x_t.to(dtype), time, half.encode_class(torch.tensor([1, 4])))
    assert out.dtype == dtype
    assert (out.float() - exact).abs().mean() < 0.1 * exact.abs().mean()


# As published: JiT's table of sizes (paper, Table 9), DiT's (Table 1).
SIZES = [
    (JiTConfig(), 131.1e6),
    (JiTConfig(width=1024, mlp_width=2730, depth=24, heads=16, class_tokens_from=8), 458.9e6),
    (JiTConfig(width=1280, mlp_width=3413, depth=32, heads=16, class_tokens_from=10, bottleneck=256), 952.5e6),
    (JiTConfig(width=1664, mlp_width=4437, depth=40, heads=16, class_tokens_from=10, bottleneck=256), 2.0e9),
    (DiTConfig(), 674.8e6),
]


@pytest.mark.parametrize(("config", "published"), SIZES)
def test_published_sizes(config, published):
    with torch.device("meta"):
        network = build_unet(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(published, rel=5e-3)
