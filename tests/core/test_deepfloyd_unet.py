"""Does our DeepFloyd network compute what diffusers' does, from every kind of file, and refuse what would not?"""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import FULL, full_config, original_weights, save_folder, text_states, tiny_unet

from imagen_core import load_checkpoint
from imagen_core.checkpoints.deepfloyd_config import config_from_diffusers, config_from_shapes
from imagen_core.checkpoints.deepfloyd_keys import key_table
from imagen_core.conditioning import Signals, TextEmbeds, aug_level_to_timestep, joined
from imagen_core.unets import build_unet, unet_config_from_dict, unet_config_to_dict
from imagen_core.unets.deepfloyd_unet import DeepFloydUNetConfig
from imagen_core.unets.group_norm import GroupNorm

# Equivalent kernels stay below 2.2e-5; the smallest real mistake measured is 9.4e-5 (if-weights.md, section 4).
FORWARD = 5e-5
STAGES = ("base64", "sr256")


@pytest.fixture(scope="module")
def theirs():
    return {stage: tiny_unet(stage) for stage in STAGES}


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("if")
    return {
        stage: load_checkpoint(save_folder(folder / stage, stage, unet))[0].requires_grad_(False)
        for stage, unet in theirs.items()
    }


def embeds(states):
    return TextEmbeds(embeds=states, mask=torch.ones(states.shape[:2], dtype=torch.bool))


def inputs(size=(32, 32), batch=2, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, 3, *size, generator=generator) for _ in range(2))


def run_ours(unet, states, time, size=(32, 32), level=0.25):
    x_t, low_res = inputs(size, len(states))
    context = unet.encode_text(embeds(states))
    picture = context + Signals(pixels=low_res, aug_level=torch.full((len(states),), level))
    return unet(x_t, torch.full((len(states),), float(time)), picture)


def run_theirs(unet, states, time, size=(32, 32), noise_level=250):
    x_t, low_res = inputs(size, len(states))
    second = unet.config.class_embed_type == "timestep"
    labels = torch.full((len(states),), noise_level) if second else None
    x_t = torch.cat([x_t, low_res], dim=1) if second else x_t
    return unet(x_t, time, encoder_hidden_states=states, class_labels=labels).sample


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("time", "size"), [(0, (32, 32)), (3, (16, 48)), (500, (32, 64)), (999, (48, 32))])
def test_one_forward_equals_diffusers(theirs, ours, stage, time, size):
    states = text_states(3)
    with torch.inference_mode():
        expected = run_theirs(theirs[stage], states, time, size)
        found = run_ours(ours[stage], states, time, size)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < FORWARD


def test_one_forward_equals_diffusers_at_the_trained_size(theirs, ours):
    """256 px, where torch's own group norm for channels_last is off by more than the limit."""
    states = text_states(1)
    with torch.inference_mode():
        expected = run_theirs(theirs["sr256"], states, 500, (256, 256))
        assert (run_ours(ours["sr256"], states, 500, (256, 256)) - expected).abs().max() < FORWARD


@pytest.mark.parametrize("size", [(256, 128), (65, 67), (67, 65), (1, 5000), (5000, 1)])
def test_group_norm_of_large_pictures_keeps_its_digits(size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 64, *size, generator=generator) + 3.0 * torch.randn(1, 64, 1, 1, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    norm = GroupNorm(32, 64)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter, 1.0, generator=generator)
    scale, shift = torch.randn(2, 2, 64, 1, 1, generator=generator)
    exact = torch.nn.functional.group_norm(x.double(), 32, norm.weight.double(), norm.bias.double())
    with torch.inference_mode():
        kept = x.clone()
        assert norm(x).is_contiguous(memory_format=torch.channels_last)
        assert (norm(x) - exact).abs().max() < 3e-5
        assert (norm(x, scale, shift) - (exact * scale + shift)).abs().max() < 6e-5
        assert torch.equal(x, kept)
    assert (norm(x, scale, shift) - (exact * scale + shift)).abs().max() < 5e-3


@pytest.mark.parametrize(("level", "noise_level"), [(0.0, 0), (0.29, 290), (0.5, 500), (1.0, 999)])
def test_aug_level_is_their_noise_level(theirs, ours, level, noise_level):
    states = text_states(1)
    with torch.inference_mode():
        expected = run_theirs(theirs["sr256"], states, 100, noise_level=noise_level)
        assert (run_ours(ours["sr256"], states, 100, level=level) - expected).abs().max() < FORWARD


def test_every_hundredth_is_its_own_noise_level():
    levels = torch.tensor([i / 100 for i in range(101)])
    assert aug_level_to_timestep(levels).tolist() == [*range(0, 1000, 10), 999]


@pytest.mark.parametrize("stage", STAGES)
def test_pads_are_read_as_text(ours, stage):
    """The mask is not looked at, and a change in the last pad changes the picture."""
    states = text_states(1)
    other = states.clone()
    other[:, -1] *= -1
    unet = ours[stage]
    with torch.inference_mode():
        out = run_ours(unet, states, 500)
        assert (run_ours(unet, other, 500) - out).abs().max() > 1e-4
        hidden = TextEmbeds(embeds=states, mask=torch.arange(77)[None] < 5)
        assert all(
            torch.equal(a, b)
            for pair in zip(
                unet.encode_text(hidden).tokens.keys_values,
                unet.encode_text(embeds(states)).tokens.keys_values,
                strict=True,
            )
            for a, b in zip(*pair, strict=True)
        )


@pytest.mark.parametrize("stage", STAGES)
def test_guidance_batch_equals_two_passes(ours, stage):
    unet, states = ours[stage], text_states(2)
    x_t, low_res = inputs()
    time, level = torch.tensor([700.0, 20.0]), torch.tensor([0.25, 0.1])
    picture = Signals(pixels=low_res, aug_level=level)
    with torch.inference_mode():
        cond, null = (picture + unet.encode_text(embeds(part)) for part in (states, states.flip(0)))
        both = joined([cond, null])
        assert both.tokens.mask is None
        out = unet(x_t.repeat(2, 1, 1, 1), time.repeat(2), both)
        torch.testing.assert_close(out[:2], unet(x_t, time, cond), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(out[2:], unet(x_t, time, null), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_flow_and_agree_with_inference(ours, stage):
    unet, states = ours[stage], text_states(1)
    with torch.inference_mode():
        fast = run_ours(unet, states, 500)
    states.requires_grad_(True)
    slow = run_ours(unet, states, 500)
    slow.square().mean().backward()
    torch.testing.assert_close(slow.detach(), fast, atol=1e-5, rtol=1e-4)
    assert states.grad.abs().max() > 0


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("size", [(30, 32), (17, 40), (1, 1)])
def test_any_size(ours, stage, size):
    with torch.inference_mode():
        out = run_ours(ours[stage], text_states(1), 500, size)
    assert out.shape == (1, 6, *size) and torch.isfinite(out).all()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_worse_than_diffusers_in_it(theirs, ours, stage, dtype):
    half = build_unet(ours[stage].config)
    half.load_state_dict(ours[stage].state_dict())
    half.to(dtype).eval()
    x_t, low_res = inputs((16, 16), 1)
    states = text_states(1)
    with torch.inference_mode():
        picture = half.encode_text(embeds(states)) + Signals(pixels=low_res, aug_level=torch.full((1,), 0.25))
        out = half(x_t.to(dtype), torch.full((1,), 999.0), picture)
        exact = run_theirs(theirs[stage], states, 999, (16, 16))
        labels = torch.full((1,), 250) if stage == "sr256" else None
        both = torch.cat([x_t, low_res], dim=1) if stage == "sr256" else x_t
        their_half = copy.deepcopy(theirs[stage]).to(dtype)
        rounded = their_half(both.to(dtype), 999, encoder_hidden_states=states.to(dtype), class_labels=labels).sample
    assert out.dtype == dtype
    error, their_error = ((one.float() - exact).abs().mean() for one in (out, rounded))
    assert 0 < error < 1.2 * their_error < 0.1 * exact.abs().mean()


def test_what_is_wrong_is_said(ours):
    states = text_states(1)
    with pytest.raises(ValueError, match="5 tokens long.*exactly 77.*padding 77"):
        ours["base64"].encode_text(embeds(states[:, :5]))
    with pytest.raises(ValueError, match="78 tokens long"):
        ours["base64"].encode_text(embeds(torch.cat([states, states[:, :1]], dim=1)))
    with pytest.raises(ValueError, match="64 wide, this network reads 128"):
        ours["base64"].encode_text(embeds(states[..., :64]))
    x_t = torch.zeros(1, 3, 32, 32)
    context = ours["sr256"].encode_text(embeds(states))
    with pytest.raises(ValueError, match="conditioned on text"):
        ours["base64"](x_t, torch.zeros(1), Signals())
    with pytest.raises(ValueError, match="low_res"):
        ours["sr256"](x_t, torch.zeros(1), context)
    small = context + Signals(pixels=x_t[..., :16], aug_level=torch.zeros(1))
    with pytest.raises(ValueError, match="resize low_res"):
        ours["sr256"](x_t, torch.zeros(1), small)


@pytest.mark.parametrize(("stage", "fits", "too_large"), [("base64", 256, 1024), ("sr256", 1024, 1040)])
def test_a_picture_too_large_to_attend_to_is_refused_at_once(ours, stage, fits, too_large):
    unet = ours[stage]
    unet._check_size(fits, fits)
    with pytest.raises(ValueError, match=rf"{too_large}x{too_large}.*limit"):
        run_ours(unet, text_states(1), 500, (too_large, too_large))


@pytest.mark.parametrize("name", FULL)
def test_published_sizes(name):
    """Keys, shapes and counts of the full networks, without their memory: diffusers' on one side, ours on the other."""
    from diffusers import UNet2DConditionModel

    stage, _, _, _, parameters, keys = FULL[name]
    settings = full_config(name)
    with torch.device("meta"):
        published = UNet2DConditionModel(**settings)
        unet = build_unet(config_from_diffusers(settings))
    shapes = {key: tuple(tensor.shape) for key, tensor in published.state_dict().items()}
    parts = [part for entry in key_table(unet, "diffusers").values() for part in entry.parts.items()]
    assert len(parts) == len(shapes) == keys and dict(parts) == shapes
    assert sum(p.numel() for p in published.parameters()) == parameters == sum(p.numel() for p in unet.parameters())
    assert config_from_shapes(shapes, "diffusers") == _explicit(unet.config)
    original = {key: tuple(tensor.shape) for key, tensor in original_weights(published).items()}
    parts = [part for entry in key_table(unet, "original").values() for part in entry.parts.items()]
    assert dict(parts) == original and len(parts) == len(original)
    assert config_from_shapes(original, "original") == _explicit(unet.config)
    assert stage == ("sr256" if unet.config.low_res_conditioning else "base64")


def _explicit(config: DeepFloydUNetConfig) -> DeepFloydUNetConfig:
    return dataclasses.replace(config, time_embed_dim=config.embed_dim)


def test_settings_survive_json():
    config = config_from_diffusers(full_config("II-L"))
    assert unet_config_from_dict(unet_config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": (True,)}, "attention has 1 entries, channels 4"),
        ({"channels": (100, 1408, 2112, 2816)}, r"\[100\] are no multiples of 32"),
        ({"project_text": False}, "text_width 2816 must be 4096"),
        ({"pooling_heads": 63}, "63 heads"),
        ({"patch_size": 2}, "patch_size"),
        ({"per_head_channels": 0}, "must be positive"),
        ({"channels": (), "num_res_blocks": (), "attention": ()}, "there must be a level"),
    ],
)
def test_impossible_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DeepFloydUNetConfig(**change)
