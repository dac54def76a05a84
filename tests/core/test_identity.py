"""Does an identity read its tokens and nothing else, weigh both of its halves alone, and refuse what is no key points?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_controls import PALETTE, drawn, settings_of, stage_of, trained
from test_unets import CONFIGS, make_inputs, make_text

from imagen_core import AdapterSpec, Control, LoadedAdapter, Prompt, build_adapter, draw_key_points
from imagen_core.adapters import ADAPTERS, Given
from imagen_core.conditioning import Signals, TextEmbeds
from imagen_core.key_points import COLORS, check_key_points, pose_points
from imagen_core.unets.adm import ADMConfig


@pytest.fixture(scope="module")
def base():
    return stage_of(CONFIGS["u_vit, fine level, learned variance"])


@pytest.fixture(scope="module")
def identity(base):
    return trained("identity", base)


def points(count=1, side=64, size=0.5):
    each = [torch.full((count,), value) for value in (0.5, 0.4, 30.0, size)]
    return draw_key_points(*each, height=side, width=side)


def given_of(network, **changes):
    given = Given(picture=PALETTE.expand(2, -1, -1, -1), kind=torch.zeros(2, dtype=torch.long), text=make_text())
    return network.told(replace(given, **changes))


def test_each_half_is_off_at_0_and_both_leave_the_base_as_it_is(base, identity):
    both = Control(adapter=identity, picture=PALETTE, key_points=points())
    plain = drawn(base)
    assert torch.equal(drawn(base, replace(both, strength=0.0, key_points_strength=0.0)), plain)
    tokens, net = drawn(base, replace(both, key_points=None)), drawn(base, replace(both, strength=0.0))
    assert torch.equal(drawn(base, replace(both, key_points_strength=0.0)), tokens)
    found = [plain, tokens, net, drawn(base, both), drawn(base, replace(both, key_points_strength=0.5))]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert (one - other).abs().max() > 1e-4
    never = replace(both, start=0.0005, end=0.001)
    assert torch.equal(drawn(base, never), plain)


def test_without_tokens_beside_the_net_says_what_it_says_with_them(base, identity):
    network = identity.network
    x_t, time, _ = make_inputs(base.unet)
    key_points = points(2, 16)
    both, net = (network.at(x_t, time, given_of(network, key_points=key_points, beside=b)) for b in (True, False))
    assert len(both.beside) == 1 and net.beside == () and both.features.keys() == net.features.keys()
    assert all(torch.equal(feature, net.features[name]) for name, feature in both.features.items())


def test_each_half_has_its_own_weight(base, identity):
    control = Control(adapter=identity, picture=PALETTE, key_points=points(), strength=0.5, key_points_strength=0.25)
    prompt = Prompt(text=make_text(1))
    told = base.encode_prompt(prompt, 2)
    x_t, time, _ = make_inputs(base.unet)

    def said(each):
        return each.steering(base, base.texts(prompt), told, 2, (16, 16))["cond"].at_times([0.5]).signals(x_t, time)

    half, full = said(control), said(replace(control, strength=1.0, key_points_strength=1.0))
    for name, feature in full.features.items():
        torch.testing.assert_close(half.features[name], 0.25 * feature)
    assert half.beside[0].weight.flatten().tolist() == [0.5, 0.5]
    assert full.beside[0].weight.flatten().tolist() == [1.0, 1.0]
    fading = replace(control, curve="linear")
    for name, feature in said(fading).features.items():
        torch.testing.assert_close(feature, 0.125 * full.features[name])
    assert said(fading).beside[0].weight.flatten().tolist() == [0.25, 0.25]


@pytest.mark.parametrize("name", ["u_vit, fine level, learned variance", "base", "efficient, joined attention (F.2)"])
def test_the_net_is_a_controlnet_whose_prompt_is_the_tokens(name):
    """Of the same weights, told the tokens in a prompt's place: the same features, whatever the words are."""
    stage = stage_of(CONFIGS[name])
    network = trained("identity", stage).network
    alone = ADAPTERS["controlnet"](network.net.config, stage.spec.unet_config).requires_grad_(False)
    missing, unknown = alone.load_state_dict(network.net.state_dict(), strict=False)
    assert not unknown and {name.split(".")[1] for name in missing} <= {"text_pooling", "text_reader"}
    alone.copy.text_reader = None  # the tokens are read as they are; what is pooled goes nowhere
    x_t, time, picture = make_inputs(stage.unet)
    key_points = points(2, 16)
    tokens = network.code_tokens(network.encoder(PALETTE.expand(2, -1, -1, -1)))
    text = TextEmbeds(embeds=network.as_text(tokens), mask=torch.ones(2, tokens.shape[1], dtype=torch.bool))
    kind = torch.zeros(2, dtype=torch.long)
    told = alone.told(Given(picture=key_points, kind=kind, base=picture))
    wanted = alone.at(x_t, time, told + Signals(tokens=alone.copy.encode_text(text).tokens)).features
    for words in (make_text(), make_text(seed=9), None):
        found = network.at(x_t, time, given_of(network, key_points=key_points, text=words, base=picture)).features
        assert found.keys() == wanted.keys()
        for name, feature in wanted.items():  # CPUs without AVX-512 round one row and two alike ones differently
            torch.testing.assert_close(found[name], feature, atol=2e-5, rtol=0)


def test_the_null_branch_reads_nothing_and_its_net_a_null_prompt(base, identity):
    network = identity.network
    x_t, time, _ = make_inputs(base.unet)
    words = base.unet.encode_text(make_text())
    null = given_of(network, null=True)
    with torch.no_grad():
        assert torch.equal(base.unet(x_t, time, words + network.at(x_t, time, null)), base.unet(x_t, time, words))
    kind, key_points = torch.zeros(2, dtype=torch.long), points(2, 16)
    nothing = TextEmbeds(embeds=torch.zeros(2, 2, make_text().embeds.shape[2]), mask=torch.ones(2, 2, dtype=torch.bool))
    read = network.net.copy.encode_text(nothing).tokens
    told = network.net.told(Given(picture=key_points, kind=kind)) + Signals(tokens=read)
    wanted = network.net.at(x_t, time, told).features
    found = network.at(x_t, time, given_of(network, null=True, key_points=key_points)).features
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_references_that_are_withheld_in_training_are_the_null_branchs(base, identity):
    network = identity.network
    some = given_of(network, known=torch.tensor([True, False]), key_points=points(2, 16))
    told, null = (given_of(network, null=n, key_points=points(2, 16)) for n in (False, True))
    for part in range(2):
        for mixed, one, other in zip(*(each.beside[0].keys_values for each in (some, told, null)), strict=True):
            assert torch.equal(mixed[part][0], one[part][0]) and torch.equal(mixed[part][1], other[part][1])
    torch.testing.assert_close(some.vector, torch.cat([told.vector[:1], null.vector[1:]]))


def test_a_code_stands_for_the_picture_that_it_is_of(base, identity):
    pictures = torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codes = identity.network.codes(pictures)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(2))
    ours = Control(adapter=identity, picture=pictures, key_points=points())
    by_code = drawn(base, replace(ours, picture=3.0 * codes))
    torch.testing.assert_close(by_code, drawn(base, ours), atol=1e-5, rtol=1e-4)
    with pytest.raises(
        ValueError, match="are 512 wide, and this identity reads codes 8 wide: .*, or connect a picture"
    ):
        drawn(base, replace(ours, picture=torch.randn(1, 512)))
    config = replace(settings_of("identity"), channels=(), code=12)
    network = build_adapter("identity", config, base.spec.unet_config).requires_grad_(False)
    blind = LoadedAdapter(network=network, spec=AdapterSpec.of(network, base))
    assert torch.equal(drawn(base, replace(ours, adapter=blind, picture=torch.randn(1, 12))), drawn(base))
    with pytest.raises(ValueError, match="reads codes of its own encoder, 12 wide, and no pictures"):
        drawn(base, replace(ours, adapter=blind))


def test_what_is_no_key_points_is_refused(base, identity):
    control = Control(adapter=identity, picture=PALETTE, key_points=points())
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for wrong in (photo, torch.full((1, 3, 32, 32), -1.0), (points().mean(1, keepdim=True)).expand(-1, 3, -1, -1)):
        with pytest.raises(
            ValueError, match="no picture of key points, coloured discs on black: make one with Imagen Key"
        ):
            drawn(base, replace(control, key_points=wrong))
    with pytest.raises(
        ValueError, match="3 pictures of key points for 2 pictures: give one picture of key points, or one"
    ):
        drawn(base, replace(control, key_points=points(3)))
    with pytest.raises(ValueError, match="follows no key points: leave them out, or load an identity"):
        drawn(base, replace(control, adapter=trained("image_prompt", base)))
    with pytest.raises(ValueError, match="a control of strength 11.0"):
        replace(control, key_points_strength=11.0)


def test_a_base_of_token_ids_is_no_base_for_it():
    ids = {"text_embed_dim": 1, "text_width": 32, "text_tokens": 8, "text_vocab": 16, "text_norm": None}
    by_number = ADMConfig(**{**ADMConfig.tiny, **ids})
    assert by_number.reads_ids
    with pytest.raises(ValueError, match="reads no text, or words by number"):
        build_adapter("identity", settings_of("identity"), by_number)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_key_points_lie_where_a_pose_says(height, width):
    pose = {"x": 0.5, "y": 0.5, "angle": 90.0, "size": 0.5}
    places = pose_points(*(torch.tensor([value]) for value in pose.values()), height, width)[0]
    half = 0.25 * min(height, width)
    wanted = [(0, 0), (0, half), (0, -half), (0.6 * half, 0), (-0.6 * half, 0)]  # facing down, its left is to the right
    torch.testing.assert_close(places, torch.tensor(wanted) + torch.tensor([width / 2, height / 2]), atol=1e-4, rtol=0)
    picture = draw_key_points(*(torch.tensor([value]) for value in pose.values()), height=height, width=width)
    check_key_points(picture)
    for (x, y), color in zip(places.tolist(), COLORS, strict=True):
        seen = picture[0, :, int(y), int(x)]
        torch.testing.assert_close(seen, torch.tensor(color) / 127.5 - 1.0, atol=1e-5, rtol=0)
    assert picture[0, :, 0, 0].tolist() == [-1.0] * 3


def test_signals_without_key_points_ask_no_net(base, identity):
    """Then nothing is computed at a call but what was told."""
    told = given_of(identity.network)
    assert told.tokens is None and told.features == {} and len(told.beside) == 1
    x_t, time, _ = make_inputs(base.unet)
    assert identity.network.at(x_t, time, told) == Signals(beside=told.beside)
