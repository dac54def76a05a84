"""Do the control nodes load, chain and steer as a user would expect, and do hint nodes make what controls read?"""

import sys
import types

import pytest
import torch
from pack import CORE, NODES
from tiny_stages import tiny_prompt, tiny_stage

BASE = {"seed": 3, "steps": 2, "guidance_scale": 2.0, "sampler": "dpmpp_2m", "width": 16, "height": 16, "batch_size": 1}


@pytest.fixture(scope="module")
def base():
    return tiny_stage("base64")


@pytest.fixture(scope="module")
def file(base, tmp_path_factory):
    """A trained control as imagen train would leave it: weights that let the hint show."""
    torch.manual_seed(1)
    kind = CORE.ADAPTERS["controlnet"]
    config = kind.config_cls(kinds=("edges", "palette"), **kind.config_cls.tiny)
    network = CORE.build_adapter("controlnet", config, base.spec.unet_config).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path_factory.mktemp("models") / "imagen" / "mine" / "control.safetensors"
    path.parent.mkdir(parents=True)
    CORE.save_adapter(path, network, CORE.AdapterSpec.of(network, base))
    return path


@pytest.fixture
def net(file, monkeypatch):
    """The same by way of the loader node, from a folder of models."""
    files = sys.modules[f"{NODES['ImagenLoadControl'].__module__.rpartition('.')[0]}._host.files"]
    monkeypatch.setattr(files, "model_folders", lambda *kinds: [file.parents[1]])
    (names, _) = NODES["ImagenLoadControl"].INPUT_TYPES()["required"]["control_net_name"]
    assert names == ["mine/control.safetensors"]
    assert NODES["ImagenLoadControl"].IS_CHANGED(names[0])
    return NODES["ImagenLoadControl"]().load(names[0])[0]


def picture():
    return torch.rand(1, 20, 20, 3, generator=torch.Generator().manual_seed(0))


def control(net, **changes):
    image = changes.pop("image", NODES["ImagenPalette"]().find(picture(), 4)[0])
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, **changes}
    return NODES["ImagenControl"]().make(net, image, **settings)[0]


def draw(base, **changes):
    return NODES["ImagenBaseSample64"]().sample(base, tiny_prompt(), **{**BASE, **changes})[0]


def test_a_control_changes_the_picture_and_off_it_does_not(base, net):
    plain = draw(base)
    assert (draw(base, control=control(net)) - plain).abs().max() > 1e-3
    assert torch.equal(draw(base, control=control(net, strength=0.0)), plain)
    half = torch.zeros(1, 16, 16)
    half[..., 8:] = 1.0
    assert not torch.equal(draw(base, control=control(net, mask=half)), draw(base, control=control(net)))


def test_previous_chains(base, net):
    edges = NODES["ImagenEdges"]().find(picture(), "edges", 16)[0]
    first = control(net)
    both = control(net, image=edges, kind="edges", previous=first)
    assert len(both) == 2 and both[0] is first[0]
    assert (draw(base, control=both) - draw(base, control=first)).abs().max() > 1e-3


def test_a_photo_is_no_hint_and_another_base_no_match(base, net):
    with pytest.raises(ValueError, match="make one of your picture with a hint node"):
        draw(base, control=control(net, image=picture()))
    other = tiny_stage("base64")
    for parameter in other.unet.parameters():
        parameter.neg_()
    with pytest.raises(ValueError, match="this control was made for a base64 stage with other weights"):
        draw(other, control=control(net))


def test_an_image_prompt_is_told_from_a_control(base, net):
    torch.manual_seed(2)
    kind = CORE.ADAPTERS["image_prompt"]
    network = CORE.build_adapter("image_prompt", kind.config_cls(**kind.config_cls.tiny), base.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reference = CORE.LoadedAdapter(network=network, spec=CORE.AdapterSpec.of(network, base))
    settings = {"weight": 1.0, "start_at": 0.0, "end_at": 1.0}
    make = NODES["ImagenImagePrompt"]().make
    both = make(reference, picture(), **settings, previous=control(net))[0]
    alone = draw(base, control=both[1:])
    assert len(both) == 2 and (alone - draw(base)).abs().max() > 1e-3
    assert (draw(base, control=both) - alone).abs().max() > 1e-3
    left = torch.zeros(1, 16, 16)
    left[..., :8] = 1.0
    masked = make(reference, picture(), **settings, attn_mask=left)[0]
    assert not torch.equal(draw(base, control=masked), alone)
    with pytest.raises(ValueError, match="follows hints: connect it to Imagen Control"):
        make(net, picture(), **settings)
    with pytest.raises(ValueError, match="follows no hint: connect it to Imagen Image Prompt"):
        control(reference)


@pytest.mark.parametrize("lines", ["edges", "soft_edges", "scribble"])
def test_lines_are_white_on_black_at_the_size_asked_for(lines):
    image = torch.zeros(2, 32, 48, 3)
    image[:, 8:24, 16:32] = 1.0
    hint = NODES["ImagenEdges"]().find(image, lines, 0)[0]
    assert hint.shape == image.shape and hint.min() == 0 and hint.max() > 0.5 and hint.mean() < 0.5
    assert NODES["ImagenEdges"]().find(image, lines, 24)[0].shape == (2, 16, 24, 3)


def test_a_sketch_from_the_mask_editor_is_a_scribble(base, net):
    mask = torch.zeros(1, 256, 256)
    mask[:, 60:76, 40:200] = 1.0
    hint = NODES["ImagenSketch"]().make(mask, 64)[0]
    assert hint.shape == (1, 64, 64, 3) and hint[0, 16, 30, 0] == 1 and hint[0, 40, 30, 0] == 0
    assert NODES["ImagenSketch"]().make(mask[0], 0)[0].shape == (1, 256, 256, 3)
    steered = draw(base, control=control(net, image=hint, kind="edges"))
    assert (steered - draw(base)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="this mask is empty: draw the outlines in the mask editor"):
        NODES["ImagenSketch"]().make(torch.zeros(1, 64, 64), 64)


def test_segments_are_flat_regions_at_the_size_asked_for():
    image = torch.full((1, 48, 96, 3), 0.9)
    image[:, 10:30, 20:50, 0] = 0.1
    hint = NODES["ImagenSegments"]().find(image, 2, 64)[0]
    assert hint.shape == (1, 32, 64, 3) and hint[0, 0, 0].max() == 0 and hint[0, 13, 23].max() > 0.5
    assert len(hint.flatten(0, 2).unique(dim=0)) == 2


def test_a_picture_of_depth_is_stretched_and_turned_round_where_dark_is_near():
    image = torch.linspace(0.3, 0.6, 96).view(1, 1, 96, 1).expand(1, 48, 96, 3)
    near = NODES["ImagenDepthHint"]().make(image, False, 64)[0]
    assert near.shape == (1, 32, 64, 3) and near[0, 0, 0].max() == 0 and near[0, 0, -1].min() == 1
    torch.testing.assert_close(NODES["ImagenDepthHint"]().make(image, True, 64)[0], 1 - near, atol=1e-5, rtol=0)
    assert NODES["ImagenDepthHint"]().make(image, False, 0, far=0.4)[0][0, 0, 30].max() == 0


def test_an_image_prompt_reads_several_references_by_layer(base):
    torch.manual_seed(2)
    kind = CORE.ADAPTERS["image_prompt"]
    network = CORE.build_adapter("image_prompt", kind.config_cls(**kind.config_cls.tiny), base.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reference = CORE.LoadedAdapter(network=network, spec=CORE.AdapterSpec.of(network, base))
    settings = {"weight": 1.0, "start_at": 0.0, "end_at": 1.0}
    make = NODES["ImagenImagePrompt"]().make
    plain = draw(base, control=make(reference, picture(), **settings)[0])
    said = {"weight_type": "linear", "combine_embeds": "one each"}
    assert torch.equal(draw(base, control=make(reference, picture(), **settings, **said)[0]), plain)
    eased = make(reference, picture(), **settings, weight_type="ease out")[0]
    assert (draw(base, control=eased) - plain).abs().max() > 1e-4
    two = torch.cat([picture(), 1 - picture()])
    both = make(reference, two, **settings, combine_embeds="concat")[0]
    assert (draw(base, control=both) - plain).abs().max() > 1e-4
    with pytest.raises(ValueError, match="2 references for 1 pictures"):
        draw(base, control=make(reference, two, **settings)[0])


def test_a_reference_goes_into_super_resolution():
    stage = tiny_stage("sr256")
    kind = CORE.ADAPTERS["reference"]
    network = CORE.build_adapter("reference", kind.config_cls(**kind.config_cls.tiny), stage.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    loaded = CORE.LoadedAdapter(network=network, spec=CORE.AdapterSpec.of(network, stage))
    told = NODES["ImagenImagePrompt"]().make(loaded, picture(), weight=1.0)[0]
    settings = {"seed": 0, "steps": 1, "sampler": "ddim", "guidance_scale": 1.0}
    plain, steered = (
        NODES["ImagenSuperRes"]().sample(stage, picture()[:1, :8, :8], 0.0, 2.0, **settings, **each)[0]
        for each in ({}, {"control": told})
    )
    assert (steered - plain).abs().max() > 1e-4


def test_an_image_prompt_that_sees_as_a_clip_takes_what_the_host_saw(base, net):
    torch.manual_seed(2)
    kind = CORE.ADAPTERS["clip_prompt"]
    network = CORE.build_adapter("clip_prompt", kind.config_cls(**kind.config_cls.tiny), base.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reference = CORE.LoadedAdapter(network=network, spec=CORE.AdapterSpec.of(network, base))
    make, embed = NODES["ImagenImagePrompt"]().make, torch.randn(1, 16)
    seen = types.SimpleNamespace(image_embeds=embed)
    drawn = draw(base, control=make(reference, clip_vision_output=seen)[0])
    assert torch.equal(drawn, draw(base, control=make(reference, image_embed=embed)[0]))
    assert (drawn - draw(base, control=make(reference, picture())[0])).abs().max() > 1e-4
    with pytest.raises(ValueError, match="1280 wide, and this image prompt reads those of the CLIP"):
        draw(base, control=make(reference, image_embed=torch.randn(1, 1280))[0])
    with pytest.raises(ValueError, match="connect one of image, image_embed and clip_vision_output: there is nothing"):
        make(reference)
    with pytest.raises(ValueError, match="there is image and image_embed"):
        make(reference, picture(), image_embed=embed)


def test_palette_and_tile_keep_the_mean():
    image = picture()
    for node, value in (("ImagenPalette", 5), ("ImagenTile", 4.0)):
        hint = NODES[node]().find(image, value)[0]
        assert hint.shape == image.shape
        torch.testing.assert_close(hint.mean(), image.mean(), atol=0.01, rtol=0)
