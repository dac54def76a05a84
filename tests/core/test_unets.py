"""Do the networks honour their contract: text, padding, sizes, zero start, settings, the paper's dimensions?"""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch.nn import functional as F

from imagen_core.conditioning import Signals, TextEmbeds, joined, part_of, repeated
from imagen_core.unets import (
    UNETS,
    ADMConfig,
    BaseUNetConfig,
    EfficientUNetConfig,
    UViTConfig,
    build_unet,
    unet_config_from_dict,
    unet_config_to_dict,
)
from imagen_core.unets.embeddings import sinusoid
from imagen_core.unets.group_norm import norm_groups
from imagen_core.unets.presets import PRESETS

WIDTH = 24
CONFIGS = {
    "base": BaseUNetConfig(
        image_size=16,
        channels=16,
        channel_mult=(1, 2),
        num_res_blocks=(1, 2),
        attention_resolutions=(8,),
        per_head_channels=16,
        text_embed_dim=WIDTH,
    ),
    "base patched, slots": BaseUNetConfig(
        image_size=16,
        patch_size=2,
        channels=16,
        channel_mult=(1, 1.5),
        num_res_blocks=1,
        attention_resolutions=(4,),
        per_head_channels=8,
        text_embed_dim=WIDTH,
        pooling_queries=4,
        time_embed_dim=32,
        out_channels=6,
    ),
    "u_vit": UViTConfig(
        patch_size=2, channels=8, num_res_blocks=1, width=24, depth=2, per_head_channels=12, text_embed_dim=WIDTH
    ),
    "u_vit, fine level, learned variance": UViTConfig(
        patch_size=2,
        channels=8,
        num_res_blocks=2,
        width=16,
        depth=1,
        per_head_channels=8,
        text_embed_dim=WIDTH,
        pooling_queries=3,
        time_embed_dim=32,
        out_channels=6,
        fine_channels=8,
        fine_blocks=1,
    ),
    "u_vit, split cells, two fine levels": UViTConfig(
        patch_size=8,
        channels=8,
        num_res_blocks=1,
        width=16,
        depth=1,
        per_head_channels=8,
        text_embed_dim=WIDTH,
        time_embed_dim=32,
        fine_channels=8,
        fine_blocks=1,
        finest_channels=4,
        finest_blocks=1,
        split_cells=True,
        text_blocks=2,
        text_block_width=64,
    ),
    "efficient, joined attention (F.2)": EfficientUNetConfig(
        channels=(8, 16),
        num_res_blocks=(1, 2),
        strides=(2, 2),
        self_attention=(False, True),
        text_cross_attention=(False, True),
        num_heads=2,
        text_embed_dim=WIDTH,
    ),
    "efficient, cross-attention (F.3)": EfficientUNetConfig(
        patch_size=2,
        channels=(8, 16),
        num_res_blocks=(1, 1),
        strides=(1, 2),
        self_attention=(True, False),
        text_cross_attention=(False, True),
        num_heads=2,
        text_embed_dim=WIDTH,
        predict_residual=True,
        stem_skip=True,
    ),
    "adm": ADMConfig(**ADMConfig.tiny, text_embed_dim=WIDTH),
    "adm, time added, convolutions resample, an inner width of text": ADMConfig(
        **ADMConfig.tiny | {"num_res_blocks": (1, 2), "attention": (False, False)},
        num_heads=2,
        activation="gelu",
        scale_shift=False,
        resample_by_block=False,
        skip_divisor=1.4,
        time_width=24,
        text_embed_dim=WIDTH,
        text_width=64,
        patch_size=2,
        out_channels=3,
    ),
}

# Networks that came later bring their own; deepfloyd_if reads padding as text, another contract: test_deepfloyd_unet.py.
# karlo_decoder is told a picture besides: test_karlo.py.
# Those that read no text: test_patch_transformers.py.
NAMED = {unet_config_to_dict(config)["kind"] for config in CONFIGS.values()} | {"deepfloyd_if", "karlo_decoder"}
CONFIGS |= {
    kind: config_cls(**{"text_embed_dim": WIDTH, **config_cls.tiny})
    for kind, (config_cls, _) in UNETS.items()
    if kind not in NAMED and config_cls().text_embed_dim is not None
}


def randomised(config, seed=0):
    """A network whose zero-initialised layers are random too, so that everything shows in the output."""
    torch.manual_seed(seed)
    unet = build_unet(config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        if parameter.abs().max() == 0:
            parameter.normal_(0, 0.1)
    return unet


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


@pytest.fixture
def unet(config):
    return randomised(config)


def make_text(batch=2, length=5, real=(5, 3), seed=1):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.tensor(real)[:batch, None]
    return TextEmbeds(embeds=torch.randn(batch, length, WIDTH, generator=generator), mask=mask)


def make_inputs(unet, batch=2, size=(16, 16), seed=2):
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randn(batch, 3, *size, generator=generator)
    low_res = torch.randn(batch, 3, *size, generator=generator)
    time = torch.linspace(900, 10, batch)
    efficient = getattr(unet.config, "low_res_conditioning", False)
    picture = Signals(pixels=low_res, aug_level=torch.linspace(0.1, 0.9, batch)) if efficient else Signals()
    return x_t, time, picture


def run(unet, text: TextEmbeds | Signals, **inputs):
    context = unet.encode_text(text) if isinstance(text, TextEmbeds) else text
    x_t, time, picture = make_inputs(unet, **inputs)
    return unet(x_t, time, picture + context)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (13, 16), (16, 22), (5, 3), (1, 1)])
def test_output_has_the_input_size(unet, size):
    out = run(unet, make_text(), size=size)
    assert out.shape == (2, unet.config.out_channels, *size)
    assert torch.isfinite(out).all() and out.std() > 0


def test_padding_does_not_reach_a_picture_of_whole_cells(unet):
    x_t, time, picture = make_inputs(unet, size=(16, 24))
    picture = picture + unet.encode_text(make_text())
    out = unet(x_t, time, picture)
    assert out.shape[-2:] == (16, 24)
    close(out, unet(x_t.contiguous(memory_format=torch.channels_last), time, picture))


def test_starts_at_zero_or_at_the_low_res_picture(config):
    unet = build_unet(config)
    x_t, time, picture = make_inputs(unet)
    out = unet(x_t, time, picture + unet.encode_text(make_text()))
    residual = getattr(config, "predict_residual", False)
    assert torch.equal(out, picture.pixels if residual else torch.zeros_like(out))


def test_learned_variance_is_no_residual():
    config = dataclasses.replace(CONFIGS["efficient, cross-attention (F.3)"], out_channels=6)
    unet = build_unet(config)
    x_t, time, picture = make_inputs(unet)
    out = unet(x_t, time, picture + unet.encode_text(make_text()))
    assert torch.equal(out[:, :3], picture.pixels) and out[:, 3:].abs().max() == 0


def test_padding_tokens_change_nothing(unet):
    text = make_text()
    garbage = torch.where(text.mask[..., None], text.embeds, 1e3 * torch.randn(text.embeds.shape))
    short = TextEmbeds(embeds=text.embeds[1:, :3], mask=text.mask[1:, :3])
    out = run(unet, text)
    close(out, run(unet, TextEmbeds(embeds=garbage, mask=text.mask)))
    x_t, time, picture = make_inputs(unet)
    alone = part_of(picture, slice(1, 2)) + unet.encode_text(short)
    close(out[1:], unet(x_t[1:], time[1:], alone))


def test_every_text_token_counts(unet):
    text = make_text()
    changed = text.embeds.clone()
    changed[0, 4] = -changed[0, 4]
    out, other = run(unet, text), run(unet, TextEmbeds(embeds=changed, mask=text.mask))
    assert (out - other)[0].abs().max() > 1e-4
    close(out[1], other[1])


def test_text_reaches_by_attention_and_by_pooling(unet):
    context = unet.encode_text(make_text())
    other = unet.encode_text(make_text(seed=9))
    out = run(unet, context)
    assert (run(unet, dataclasses.replace(context, vector=other.vector)) - out).abs().max() > 1e-4
    assert (run(unet, dataclasses.replace(context, tokens=other.tokens)) - out).abs().max() > 1e-5


def test_text_encoded_once_equals_every_time(unet):
    text = make_text()
    context = unet.encode_text(text)
    first = run(unet, context)
    assert torch.equal(first, run(unet, context))
    assert torch.equal(first, run(unet, text))


def test_guidance_batch_equals_two_passes(unet):
    x_t, time, picture = make_inputs(unet)
    cond, null = unet.encode_text(make_text()), unet.encode_text(TextEmbeds.null(2, WIDTH))
    both = joined([picture + cond, picture + null])
    out = unet(x_t.repeat(2, 1, 1, 1), time.repeat(2), both)
    close(out[:2], unet(x_t, time, picture + cond))
    close(out[2:], unet(x_t, time, picture + null))
    assert torch.isfinite(out).all() and (out[:2] - out[2:]).abs().max() > 1e-5


def test_mask_is_needed_only_with_padding(unet):
    with torch.inference_mode():
        full = unet.encode_text(make_text(real=(5, 5)))
        assert full.tokens.mask is None and unet.encode_text(make_text()).tokens.mask is not None
        assert repeated(full, 2).tokens.mask is None and joined([full, full]).tokens.mask is None
        assert joined([full, unet.encode_text(TextEmbeds.null(1, WIDTH))]).tokens.mask[2].tolist() == [True] + 4 * [
            False
        ]
        masked = dataclasses.replace(full.tokens, mask=torch.ones(2, 5, dtype=torch.bool))
        close(run(unet, full), run(unet, dataclasses.replace(full, tokens=masked)))


def test_images_of_a_batch_do_not_touch(unet):
    x_t, time, picture = make_inputs(unet)
    context = unet.encode_text(make_text())
    out = unet(x_t, time, picture + context)
    x_t[0] = 7.0
    assert (unet(x_t, time, picture + context)[0] - out[0]).abs().max() > 1e-3
    close(unet(x_t, time, picture + context)[1], out[1])


def test_time_and_aug_level_are_told_apart(unet):
    x_t, time, picture = make_inputs(unet)
    picture = picture + unet.encode_text(make_text())
    out = unet(x_t, time, picture)
    assert (unet(x_t, time + 1, picture) - out).abs().max() > 1e-6
    if picture.aug_level is not None:
        other = dataclasses.replace(picture, aug_level=picture.aug_level + 0.01)
        assert (unet(x_t, time, other) - out).abs().max() > 1e-6


def test_training_reaches_every_parameter(config):
    unet = randomised(config).train().requires_grad_(True)
    run(unet, make_text()).square().mean().backward()
    idle = [name for name, p in unet.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    # A bias on keys shifts all scores of a query alike; before LayerNorm of one token nothing else is idle.
    assert [name for name in idle if "bias" not in name] == []


def test_inference_mode_equals_training_mode(unet):
    text = make_text()
    with torch.inference_mode():
        fast = run(unet, text)
    close(fast, run(unet, text))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(unet, config, dtype):
    exact = run(unet, make_text())
    half = randomised(config).to(dtype)
    x_t, time, picture = make_inputs(half)
    with torch.inference_mode():
        out = half(x_t.to(dtype), time, picture + half.encode_text(make_text()))
    assert out.dtype == dtype
    assert (out.float() - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_without_text(config):
    bare = {"text_embed_dim": None}
    if isinstance(config, EfficientUNetConfig):
        with pytest.raises(ValueError, match="text_cross_attention"):
            dataclasses.replace(config, **bare)
        bare["text_cross_attention"] = (False, False)
    unet = randomised(dataclasses.replace(config, **bare))
    x_t, time, picture = make_inputs(unet)
    assert unet(x_t, time, picture).std() > 0
    with pytest.raises(ValueError, match="without text"):
        unet.encode_text(make_text())


def test_missing_and_mismatched_conditions(unet):
    x_t, time, picture = make_inputs(unet)
    with pytest.raises(ValueError, match="told none"):
        unet(x_t, time, picture)
    with pytest.raises(ValueError, match="7 wide.*reads 24"):
        unet.encode_text(TextEmbeds.null(1, 7))
    if picture.pixels is not None:
        context = unet.encode_text(make_text())
        with pytest.raises(ValueError, match="low_res"):
            unet(x_t, time, context)
        with pytest.raises(ValueError, match="resize low_res"):
            unet(x_t, time, dataclasses.replace(picture + context, pixels=picture.pixels[..., :8]))


def test_settings_survive_json(config):
    assert unet_config_from_dict(json.loads(json.dumps(unet_config_to_dict(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "transformer"}, "transformer.*expected one of"),
        ({"colour": 3}, "colour"),
        ({"channels": "64"}, "channels.*expected"),
        ({"channel_mult": 2}, "channel_mult"),
        ({"out_channels": True}, "out_channels"),
        ({"attention_resolutions": [9]}, r"\[9\] name no level.*\(16, 8\)"),
        ({"num_res_blocks": [1, 2, 3]}, "num_res_blocks"),
    ],
)
def test_bad_settings_are_named(change, message):
    settings = unet_config_to_dict(CONFIGS["base"]) | change
    with pytest.raises(ValueError, match=message):
        unet_config_from_dict(settings)


def test_other_bad_settings_are_named():
    with pytest.raises(ValueError, match="strides has 1 entries, channels 2"):
        EfficientUNetConfig(
            channels=(8, 8),
            strides=(2,),
            num_res_blocks=(1, 1),
            self_attention=(False, False),
            text_cross_attention=(False, False),
        )
    with pytest.raises(ValueError, match="predict_residual"):
        EfficientUNetConfig(low_res_conditioning=False, predict_residual=True)
    with pytest.raises(ValueError, match="per_head_channels"):
        build_unet(dataclasses.replace(CONFIGS["base"], per_head_channels=5))


def test_a_network_grows_a_fine_level_without_forgetting():
    grown = CONFIGS["u_vit, fine level, learned variance"]
    old = randomised(dataclasses.replace(grown, fine_channels=0))
    new = build_unet(grown).eval().requires_grad_(False)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected and {key.split(".")[0] for key in missing} == {"fine"}
    close(run(new, make_text()), run(old, make_text()))
    new.fine.head.bias.fill_(1.0)
    close(run(new, make_text()), run(old, make_text()) + 1.0)
    with pytest.raises(ValueError, match="patch_size 1 must be even"):
        build_unet(dataclasses.replace(CONFIGS["u_vit"], patch_size=1, fine_channels=8))


def test_a_network_grows_a_second_fine_level_without_forgetting():
    grown = CONFIGS["u_vit, split cells, two fine levels"]
    old = randomised(dataclasses.replace(grown, finest_channels=0))
    new = build_unet(grown).eval().requires_grad_(False)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected and {key.split(".")[0] for key in missing} == {"finest"}
    close(run(new, make_text()), run(old, make_text()))
    new.finest.head.bias.copy_(torch.arange(12.0))  # cells of 2x2 pixels, three channels
    change = run(new, make_text()) - run(old, make_text())
    close(change, torch.arange(12.0).view(3, 2, 2).repeat(len(change), 1, *(side // 2 for side in change.shape[-2:])))
    with pytest.raises(ValueError, match="finest_channels follow a fine level"):
        dataclasses.replace(grown, fine_channels=0)


def test_a_network_begins_to_reread_its_prompt_without_forgetting():
    grown = CONFIGS["u_vit, split cells, two fine levels"]
    old = randomised(dataclasses.replace(grown, text_blocks=0))
    new = build_unet(grown).eval().requires_grad_(False)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected and {key.split(".")[0] for key in missing} == {"text_reader"}
    assert torch.equal(run(new, make_text()), run(old, make_text()))


def test_a_rereading_network_tells_tokens_by_their_order_and_looks_at_no_padding():
    unet = randomised(CONFIGS["u_vit, split cells, two fine levels"])
    text = make_text(batch=1, real=(4,))
    turned = dataclasses.replace(text, embeds=text.embeds.roll(1, 1))
    said = {name: unet.encode_text(each).tokens.keys_values[0][0] for name, each in (("a", text), ("b", turned))}
    assert (said["a"].roll(1, 2) - said["b"]).abs().max() > 1e-3  # without it, the same keys in another order
    longer = TextEmbeds(embeds=F.pad(text.embeds, (0, 0, 0, 3), value=9.0), mask=F.pad(text.mask, (0, 3)))
    close(unet.encode_text(longer).tokens.keys_values[0][0][:, :, : text.embeds.shape[1]], said["a"])


def test_a_network_whose_cells_are_split_draws_as_before_where_nothing_is_mixed():
    """Without attention, a position starts as its cell, and draws the part of the cell's patches that is its own."""
    whole = dataclasses.replace(CONFIGS["u_vit"], split_cells=False)
    old = randomised(whole)
    for block in old.transformer:
        block.attention.out.requires_grad_(False).weight.zero_()
    new = build_unet(dataclasses.replace(whole, split_cells=True)).eval().requires_grad_(False)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected and set(missing) == {"own.weight", "own.bias", "quarter"}
    close(run(new, make_text()), run(old, make_text()))
    new.quarter.normal_(generator=torch.Generator().manual_seed(0))
    assert (run(new, make_text()) - run(old, make_text())).abs().max() > 1e-3


def test_residual_smoothing_blurs_only_what_carries_noise():
    config = dataclasses.replace(CONFIGS["efficient, cross-attention (F.3)"], residual_smoothing=0.1)
    unet = build_unet(config)  # its head is zero: the output is what it adds to
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.0, 0.05, 0.1, 0.5])
    text = unet.encode_text(make_text(batch=4, real=(5,) * 4))
    picture = text + Signals(pixels=noise, aug_level=levels)
    out = unet(torch.zeros_like(noise), torch.full((4,), 500.0), picture)
    assert torch.equal(out[0], noise[0])
    spread = out.std((1, 2, 3)) / noise.std((1, 2, 3))
    assert 0.4 < spread[1] < 0.7 and spread[2:].max() < 0.2
    flat = text + Signals(pixels=torch.ones_like(noise), aug_level=levels)
    close(unet(noise, torch.zeros(4), flat), torch.ones_like(noise))
    with pytest.raises(ValueError, match="residual_smoothing"):
        dataclasses.replace(config, predict_residual=False)


def test_patch_levels_are_counted_in_patches():
    assert BaseUNetConfig(patch_size=4, channel_mult=(1, 2, 3), attention_resolutions=(8,)).level_sides == (16, 8, 4)


def test_patches_go_back_where_they_came_from():
    """A body that passes patches through makes the network the identity, whatever the size."""
    unet = build_unet(CONFIGS["base patched, slots"])
    unet._body = lambda x, embedding, told: x
    x_t = torch.randn(2, 3, 10, 7)
    text = unet.encode_text(make_text())
    assert torch.equal(unet(x_t, torch.zeros(2), text), x_t)


def test_norm_groups():
    assert [norm_groups(c) for c in (3, 8, 32, 40, 96, 128, 512)] == [1, 2, 8, 10, 24, 32, 32]


def test_time_is_embedded_in_full_precision():
    a, b = sinusoid(torch.tensor([999.0, 999.5]), 64)
    assert a.dtype == torch.float32 and (a - b).abs().max() > 0.1
    assert sinusoid(torch.zeros(1), 7).shape == (1, 7)


# Published, and how far the published settings may land from it; presets.py says why.
@pytest.mark.parametrize(
    ("name", "published", "built"),
    [("imagen_base64", 2000e6, 2404e6), ("imagen_sr256", 600e6, 488e6), ("imagen_sr1024", 400e6, 480e6)],
)
def test_paper_sized_networks(name, published, built):
    with torch.device("meta"):
        unet = build_unet(PRESETS[name])
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert count == pytest.approx(built, rel=0.005)
    assert count == pytest.approx(published, rel=0.21)


def test_paper_sized_networks_run_on_meta():
    with torch.device("meta"):
        for name, side in (("imagen_base64", 64), ("imagen_sr256", 256)):
            unet = build_unet(PRESETS[name])
            text = unet.encode_text(TextEmbeds(embeds=torch.zeros(1, 9, 4096), mask=torch.ones(1, 9, dtype=torch.bool)))
            picture = torch.zeros(1, 3, side, side)
            condition = text + Signals(pixels=picture, aug_level=torch.zeros(1))
            assert unet(picture, torch.zeros(1), condition).shape == picture.shape
