"""Are a picture's words read before a prompt, in its place, as far as weight, mask and the prompt itself say?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_controls import PALETTE, drawn, stage_of, trained
from test_unets import CONFIGS

from imagen_core import Control
from imagen_core.adapters import Given
from imagen_core.adapters.picture_words import PARTS, Phrases
from imagen_core.conditioning import Signals, TextEmbeds, Tokens
from imagen_core.unets.attention import attend
from imagen_core.unets.efficient_unet import EfficientUNetConfig


def told_by(seed, count=3, **changes):
    """Tokens of one layer, two images."""
    pair = torch.randn(2, 2, 2, count, 8, generator=torch.Generator().manual_seed(seed))
    return Tokens(keys_values=((pair[0], pair[1]),), **changes)


@pytest.fixture
def layer():
    """Queries of a picture of 4x4 positions, and a layer's own keys and values."""
    return torch.randn(3, 2, 2, 16, 8, generator=torch.Generator().manual_seed(9)).unbind(0)


def read(layer, *beside, tokens=None, own=True):
    queries, *keys_values = layer
    return attend(queries, keys_values if own else (), Signals(tokens=tokens or told_by(0), beside=beside), 0)


@pytest.mark.parametrize("own", [True, False])
def test_in_its_place_is_as_if_it_were_the_prompt(layer, own):
    other = told_by(1, 5, instead=True)
    torch.testing.assert_close(read(layer, other, own=own), read(layer, tokens=told_by(1, 5), own=own))
    nothing, double = replace(other, weight=torch.zeros(2, 1, 1, 1)), replace(other, weight=2.0)
    torch.testing.assert_close(read(layer, nothing, own=own), read(layer, own=own))
    torch.testing.assert_close(read(layer, double, own=own), read(layer, other, own=own))
    torch.testing.assert_close(
        read(layer, replace(told_by(0), instead=True, weight=0.3), own=own), read(layer, own=own)
    )


def test_a_part_of_the_picture_and_a_layer_read_what_they_are_told(layer):
    where = torch.zeros(2, 1, 8, 8)
    where[..., :4] = 1.0
    other, third = told_by(1, 5, instead=True, where=where), told_by(2, 4, instead=True, where=1.0 - where)
    half = read(layer, other).view(2, 4, 4, 16)
    there, elsewhere = (read(layer, tokens=told_by(*which)).view(2, 4, 4, 16) for which in ((1, 5), (0, 3)))
    torch.testing.assert_close(half[:, :, :2], there[:, :, :2])
    torch.testing.assert_close(half[:, :, 2:], elsewhere[:, :, 2:])
    both = read(layer, other, third).view(2, 4, 4, 16)
    torch.testing.assert_close(both[:, :, 2:], read(layer, tokens=told_by(2, 4)).view(2, 4, 4, 16)[:, :, 2:])
    torch.testing.assert_close(read(layer, replace(other, layers=(0.0,))), read(layer))


def test_shares_are_those_of_the_softmax(layer):
    """Two alike at .6 and .6 share the place, and leave the prompt nothing; padding is read by none."""
    other = told_by(1, 5, instead=True, weight=0.6)
    torch.testing.assert_close(read(layer, other, other), read(layer, tokens=told_by(1, 5)))
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    short = read(layer, replace(other, weight=1.0, mask=mask))
    torch.testing.assert_close(short, read(layer, tokens=replace(told_by(1, 5), mask=mask)))


@pytest.fixture(scope="module")
def base():
    return stage_of(CONFIGS["u_vit, fine level, learned variance"])


def sure(network, **told):
    """One that is sure of the phrases `told`, part by part, whatever it sees, and hears of prompts what it is set to."""
    network.requires_grad_(False)
    network.heard = (False, False, False)
    for place, (name, part) in enumerate(network.parts.items()):
        part.fit.weight.zero_()
        part.fit.bias.copy_(torch.full_like(part.fit.bias, -50.0).index_fill_(0, torch.tensor(told[name]), 50.0))
        count, length = part.there.shape
        numbers = 100 * (place + 1) + 10 * torch.arange(count)[:, None] + torch.arange(length)
        part.knows([row[:, None].expand(-1, part.tokens.weight.shape[1]).float() for row in numbers])
    network.marks.copy_(torch.tensor([[1.0], [2.0]]).expand(2, network.marks.shape[1]))
    network.marked.fill_(1.0)
    network.states = lambda text: torch.tensor([network.heard] * len(text.mask)).float() - 0.5
    return network


def test_a_prompt_leaves_to_the_picture_what_it_does_not_say(base):
    network = sure(trained("picture_words", base).network, number=1, color=2, thing=3, style=0, backdrop=1)
    asked: list[TextEmbeds] = []
    width = base.spec.unet_config.text_embed_dim
    text = TextEmbeds(embeds=torch.full((1, 2, width), -1.0), mask=torch.tensor([[True, False]]))

    def reading(given):
        asked.append(given)
        return base.unet.encode_text(given)

    def said(*heard, pictures=2, **changes):
        network.heard = heard
        told = base.unet.encode_text(text)
        given = Given(picture=torch.rand(pictures, 16), kind=torch.zeros(2), text=text, base=told, read=reading)
        told = network.told(replace(given, **changes))
        words, (beside,) = asked.pop(), told.beside
        return [int(n) for n in words.embeds[0, words.mask[0], 0]], beside, told

    thing, style, backdrop = [330, 331], [400, 401], [510, 511, 512]
    silent, beside, told = said(False, False, False)
    assert silent == [1, 110, 220, *thing, *style, *backdrop, 2, -1]
    assert beside.instead and beside.weight.flatten().tolist() == [1.0, 1.0] and told.vector.abs().max() > 0
    assert said(True, True, True)[0] == [1, 100, 220, *thing, 2, -1]
    assert said(False, False, True)[0] == [1, 110, 220, *thing, *style, 2, -1]
    _, null, told = said(False, False, False, null=True)
    assert null.weight.abs().max() == 0 and told.vector.abs().max() == 0
    one = [1, 100, 220, *thing, 2]
    assert said(True, True, True, pictures=3, combine="concat")[0] == one * 3 + [-1]
    assert said(True, True, True, pictures=3, combine="average")[0] == [*one, -1]
    assert said(False, False, False, weight_type="weak input")[1].layers is not None


def test_a_phrase_is_a_mean_of_those_that_fit_and_has_the_tokens_that_most_of_it_has():
    part = Phrases(4, 3, 2, 8)
    assert not part.told(part(torch.randn(1, 4)))[1].any()  # before it is taught any
    part.knows([torch.full((1, 8), 1.0), torch.full((2, 8), 3.0), torch.full((5, 8), 4.0)])
    assert part.there.tolist() == [[1, 0], [1, 1], [1, 1]] and not part.tokens.weight.requires_grad
    tokens, there = part.told(torch.tensor([[0.0, 0.0, -50.0], [50.0, 0.0, 0.0], [0.0, 1.0, -50.0]]))
    assert there.tolist() == [[True, False], [True, False], [True, True]]
    torch.testing.assert_close(tokens[0, 0], torch.full((8,), 2.0))
    torch.testing.assert_close(tokens[2, 1], torch.full((8,), 3.0))  # of those alone that have a second


def test_parts_are_settings(base):
    config = trained("picture_words", base).spec.config
    assert all(len(getattr(config, name)) == 2 for name in PARTS)


def test_two_references_each_in_its_half_leave_the_rest_to_the_prompt(base):
    """Where a mask is black the prompt alone is read, to the rounding of one softmax."""
    words = trained("picture_words", base)
    control = Control(adapter=words, picture=PALETTE)
    black = torch.zeros(1, 1, 16, 16)
    torch.testing.assert_close(drawn(base, replace(control, mask=black)), drawn(base), atol=1e-4, rtol=1e-4)
    assert (drawn(base, control) - drawn(base)).abs().max() > 1e-4


def test_no_more_than_the_whole_place_is_taken(base):
    """Twice as strong, or the same picture twice, is the picture in the prompt's place; what goes beside the time, too."""
    control = Control(adapter=trained("picture_words", base), picture=PALETTE)
    once = drawn(base, control)
    torch.testing.assert_close(drawn(base, replace(control, strength=2.0)), once)
    torch.testing.assert_close(drawn(base, control, control), once, atol=1e-4, rtol=1e-4)
    other = Control(adapter=trained("picture_words", base), picture=-PALETTE)
    assert (drawn(base, control, other) - once).abs().max() > 1e-4


def test_it_fits_no_network_without_embedded_text(base):
    sizes = {"channels": (16, 16), "num_res_blocks": (1, 1), "strides": (1, 2), "num_heads": 2, "patch_size": 2}
    off = {"self_attention": (False, False), "text_cross_attention": (False, False), "text_embed_dim": None}
    plain = EfficientUNetConfig(**sizes, **off)
    with pytest.raises(ValueError, match="reads no embedded text, and a picture's words go before it"):
        trained("picture_words", stage_of(plain))
    network = trained("picture_words", base).network
    with pytest.raises(ValueError, match="go before a prompt, and this network was given none"):
        network.told(Given(picture=torch.rand(1, 16), kind=torch.zeros(1)))
