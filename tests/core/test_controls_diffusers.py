"""Are features added where diffusers adds them, and does our T2I-Adapter compute what theirs does?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from diffusers import T2IAdapter as TheirAdapter
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import save_folder, text_states, tiny_unet

from imagen_core import build_adapter, load_stage
from imagen_core.adapters import Given
from imagen_core.adapters.controlnet import ControlNetConfig
from imagen_core.adapters.t2i_adapter import T2IAdapterConfig
from imagen_core.conditioning import Signals, TextEmbeds

SAME = 1e-5
KIND = torch.zeros(2, dtype=torch.long)
STATES = text_states(2)
TEXT = TextEmbeds(embeds=STATES, mask=torch.ones(STATES.shape[:2], dtype=torch.bool))


@pytest.fixture(scope="module")
def theirs():
    return tiny_unet("base64")


@pytest.fixture(scope="module")
def stage(theirs, tmp_path_factory):
    return load_stage(save_folder(tmp_path_factory.mktemp("if"), "base64", theirs))


@pytest.fixture(scope="module")
def control(stage):
    """A ControlNet of IF's network whose layers that start at zero are not zero any more."""
    torch.manual_seed(2)
    network = build_adapter("controlnet", ControlNetConfig(hint_width=8), stage.spec.unet_config).begin_as(stage.unet)
    for parameter in network.requires_grad_(False).parameters():
        if parameter.abs().max() == 0:
            parameter.normal_(0, 0.05)
    return network.eval()


def inputs():
    x_t, hint = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4))
    return x_t, torch.tensor([700.0, 30.0]), hint.clamp(-1, 1)


def features_of(control):
    x_t, time, hint = inputs()
    told = control.told(Given(picture=hint, kind=KIND, text=TEXT))
    return control.at(x_t, time, told).features


def test_skips_and_middle_take_what_diffusers_residuals_are(theirs, stage, control):
    x_t, time, _ = inputs()
    features = features_of(control)
    skips = sorted((name for name in features if name.startswith("skip")), key=lambda name: int(name[5:]))
    with torch.inference_mode():
        expected = theirs(
            x_t,
            time,
            encoder_hidden_states=STATES,
            down_block_additional_residuals=tuple(features[name] for name in skips),
            mid_block_additional_residual=features["middle"],
        ).sample
        plain = theirs(x_t, time, encoder_hidden_states=STATES).sample
        found = stage.unet(x_t, time, stage.unet.encode_text(TEXT) + Signals(features=features))
    assert (expected - plain).abs().max() > 0.1
    assert (found - expected).abs().max() < SAME * expected.abs().max()


def test_the_copy_is_their_way_down_with_the_hint_behind_the_stem(theirs, control):
    """Put together of diffusers' own modules, as ControlNet's are."""
    x_t, time, hint = inputs()
    with torch.inference_mode():
        features = features_of(control)
        embedding = theirs.time_embedding(theirs.time_proj(time)) + theirs.add_embedding(STATES)
        states = theirs.encoder_hid_proj(STATES)
        x = theirs.conv_in(x_t) + control.hint((hint + 1) / 2)
        # The kind stands beside the time: its embedding is added to both.
        embedding = embedding + control.kind.weight[0]
        skips = [x]
        for block in theirs.down_blocks:
            attends = {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}
            x, found = block(x, embedding, **attends)
            skips += found
        middle = theirs.mid_block(x, embedding, encoder_hidden_states=states)
        expected = {f"skip.{i}": skip for i, skip in enumerate(skips)} | {"middle": middle}
        expected = {name: control.joins[name.replace(".", "_")](x) for name, x in expected.items()}
    assert expected.keys() == features.keys()
    for name, x in expected.items():
        assert (features[name] - x).abs().max() < SAME * max(1.0, x.abs().max()), name


def test_t2i_features_are_diffusers_full_adapters(stage):
    """Their form, and ours, which adds a layer that starts at zero: here an identity."""
    ours = build_adapter("t2i_adapter", T2IAdapterConfig(blocks=2), stage.spec.unet_config).requires_grad_(False)
    widths = [point.width for point in ours.points.values()]
    torch.manual_seed(1)
    theirs = TheirAdapter(
        in_channels=3, channels=widths, num_res_blocks=2, downscale_factor=1, adapter_type="full_adapter"
    )
    weights = {"conv_in.weight": theirs.adapter.conv_in.weight, "conv_in.bias": theirs.adapter.conv_in.bias}
    for n, block in enumerate(theirs.adapter.body):
        for key, value in block.state_dict().items():
            weights[f"scales.{n}.{key.replace('resnets', 'blocks')}"] = value
    missing = ours.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and all(key.startswith(("kind", "out")) for key in missing.missing_keys)
    for layer in ours.out:
        nn.init.dirac_(layer.weight)
    _, _, hint = inputs()
    with torch.inference_mode():
        expected = theirs((hint + 1) / 2)
        found = ours.told(Given(picture=hint, kind=KIND)).features
    assert list(found) == list(ours.points) and len(found) == len(expected) == 4
    for (name, ours_), theirs_ in zip(found.items(), expected, strict=True):
        assert (ours_ - theirs_).abs().max() < SAME, name
