"""Do the nodes of an identity say who is drawn and where, weigh both halves, and refuse what they cannot read?"""

import dataclasses

import pytest
import torch
from pack import CORE, NODES
from tiny_stages import tiny_prompt, tiny_stage

BASE = {"seed": 3, "steps": 2, "guidance_scale": 2.0, "sampler": "dpmpp_2m", "width": 16, "height": 16, "batch_size": 1}
POSE = {"x": 0.5, "y": 0.5, "angle": 30.0, "size": 0.6, "width": 32, "height": 32}


@pytest.fixture(scope="module")
def base():
    return tiny_stage("base64")


def loaded(base, name, std=0.05, **settings):
    torch.manual_seed(2)
    kind = CORE.ADAPTERS[name]
    network = CORE.build_adapter(name, kind.config_cls(**{**kind.config_cls.tiny, **settings}), base.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=std)
    return CORE.LoadedAdapter(network=network, spec=CORE.AdapterSpec.of(network, base))


@pytest.fixture(scope="module")
def identity(base):
    return loaded(base, "identity", std=0.2)


def picture(seed=0):
    return torch.rand(1, 20, 20, 3, generator=torch.Generator().manual_seed(seed))


def key_points(**changes):
    return NODES["ImagenKeyPoints"]().draw(**{**POSE, **changes})[0]


def make(*inputs, **named):
    return NODES["ImagenIdentity"]().make(*inputs, **named)[0]


def draw(base, **changes):
    return NODES["ImagenBaseSample64"]().sample(base, tiny_prompt(), **{**BASE, **changes})[0]


def test_both_halves_show_and_at_0_neither(base, identity):
    plain = draw(base)
    given = {"image": picture(), "key_points": key_points()}
    both = draw(base, control=make(identity, **given, ip_weight=1.0, cn_strength=1.0))
    tokens = draw(base, control=make(identity, **given, ip_weight=1.0, cn_strength=0.0))
    net = draw(base, control=make(identity, **given, ip_weight=0.0, cn_strength=1.0))
    assert torch.equal(draw(base, control=make(identity, **given, ip_weight=0.0, cn_strength=0.0)), plain)
    assert torch.equal(draw(base, control=make(identity, picture(), ip_weight=1.0)), tokens)
    drawn = [plain, both, tokens, net]
    assert all((one - other).abs().max() > 1e-4 for i, one in enumerate(drawn) for other in drawn[:i])


def test_place_part_of_the_way_and_what_came_before_are_heeded(base, identity):
    given = {"image": picture(), "key_points": key_points(), "ip_weight": 1.0, "cn_strength": 1.0}
    whole = draw(base, control=make(identity, **given))
    assert (draw(base, control=make(identity, **{**given, "key_points": key_points(x=0.2)})) - whole).abs().max() > 1e-5
    left = torch.zeros(1, 16, 16)
    left[..., :8] = 1.0
    assert not torch.equal(draw(base, control=make(identity, **given, mask=left)), whole)
    assert not torch.equal(draw(base, control=make(identity, **given, end_at=0.01)), whole)
    reference = NODES["ImagenImagePrompt"]().make(loaded(base, "image_prompt", std=0.3), picture(), weight=1.0)[0]
    both = make(identity, **given, previous=reference)
    assert len(both) == 2 and both[0] is reference[0]
    assert (draw(base, control=both) - whole).abs().max() > 1e-4


def test_a_code_is_read_in_the_pictures_place(base, identity):
    code = identity.network.codes(picture().permute(0, 3, 1, 2) * 2 - 1)
    drawn = [
        draw(base, control=make(identity, **who, ip_weight=1.0))
        for who in ({"image": picture()}, {"image_embed": code})
    ]
    torch.testing.assert_close(*drawn, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="connect one of image and image_embed: there is nothing"):
        make(identity)
    with pytest.raises(ValueError, match="there is both"):
        make(identity, picture(), image_embed=code)
    with pytest.raises(ValueError, match="are 768 wide, and this identity reads codes 8 wide"):
        draw(base, control=make(identity, image_embed=torch.randn(1, 768)))
    theirs = loaded(base, "identity", channels=(), code=12)
    with pytest.raises(ValueError, match="reads codes of its own encoder, 12 wide, and no pictures"):
        draw(base, control=make(theirs, picture()))


def test_files_of_another_kind_are_told_from_it(base, identity):
    with pytest.raises(ValueError, match="this file is no identity, but image_prompt: load one that imagen train"):
        make(loaded(base, "image_prompt"), picture())
    with pytest.raises(ValueError, match="this file is an identity and follows no hint: connect it to Imagen Identity"):
        NODES["ImagenControl"]().make(identity, picture(), 1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="this file is an identity: connect it to Imagen Identity"):
        NODES["ImagenImagePrompt"]().make(identity, picture())
    with pytest.raises(ValueError, match="this is no picture of key points"):
        draw(base, control=make(identity, picture(), key_points=picture(1)))
    other = tiny_stage("base64")
    for parameter in other.unet.parameters():
        parameter.neg_()
    with pytest.raises(ValueError, match="this control was made for a base64 stage with other weights"):
        draw(other, control=make(identity, picture()))


def test_key_points_are_five_discs_where_the_widgets_say():
    drawn = key_points(x=0.25, y=0.75, angle=0.0, size=0.4, width=160, height=80)
    assert drawn.shape == (1, 80, 160, 3)
    assert drawn[0, 60, 40].tolist() == [1.0, 1.0, 1.0]
    front, back = drawn[0, 60, 40 + 16], drawn[0, 60, 40 - 16]
    assert front[0] > front[1:].max() and back[1] > back[::2].max() and drawn[0, 5, 5].max() == 0
    turned = key_points(x=0.25, y=0.5, angle=180.0, size=0.4, width=160, height=80)
    assert (turned[0, 40, 24] - front).abs().max() < 1e-5


def test_by_the_hosts_own_chain_each_half_is_off_alone(identity):
    control = make(identity, picture(), key_points=key_points(), ip_weight=0.0, cn_strength=0.5)[0]
    assert control.works and not dataclasses.replace(control, key_points_strength=0.0).works
    assert not dataclasses.replace(control, key_points=None).works
