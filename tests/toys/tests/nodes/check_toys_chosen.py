"""Are the toys choices of their nodes, settings included, and do pictures come of them? Runs in a copy of the pack."""

import dataclasses
import importlib

import pytest
import torch
from pack import CORE, NODES, PACK
from tiny_stages import TEXT_DIM, tiny_prompt

WIDGETS = {"guidance_scale": 3.0, "width": 16, "height": 16, "batch_size": 1, "seed": 1, "steps": 3}


def inputs_of(node):
    declared = NODES[node].INPUT_TYPES()
    return {name: spec for section in declared.values() for name, spec in section.items()}


def defaults(node):
    return {name: spec[1]["default"] for name, spec in inputs_of(node).items() if "default" in spec[1]}


def test_toys_are_choices_of_their_nodes():
    for node, widget in (
        ("ImagenBaseSample64", "sampler"),
        ("ImagenSuperRes", "sampler"),
        ("ImagenGuidance", "method"),
        ("ImagenThreshold", "method"),
    ):
        assert "toy" in inputs_of(node)[widget][0], (node, widget)
    assert inputs_of("ImagenGuidance")["share"][1]["default"] == 0.5
    assert "how much of the pull is taken" in inputs_of("ImagenGuidance")["share"][1]["tooltip"]
    assert list(NODES["ImagenThreshold"].INPUT_TYPES()["required"]) == ["method", "percentile", "maximum"]
    assert "edge" in NODES["ImagenThreshold"].INPUT_TYPES()["optional"]
    assert NODES["ImagenToy"]().run(3) == (3,)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A toy network on the toy schedule with the toy prediction, by way of a file."""
    unets = importlib.import_module(f"{CORE.__name__}.unets")
    config = unets.UNETS["toy"][0](text_embed_dim=TEXT_DIM)
    torch.manual_seed(0)
    unet = CORE.build_unet(config)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    spec = CORE.StageSpec(stage="base64", unet_config=config, schedule_config={"name": "toy"}, prediction_type="toy")
    path = tmp_path_factory.mktemp("stages") / "toy.safetensors"
    CORE.save_checkpoint(path, unet, spec=spec)
    return CORE.load_stage(path)


def test_toys_draw_a_picture(stage):
    def draw(sampler="toy", threshold=None, **guidance):
        guided = NODES["ImagenGuidance"]().make(**defaults("ImagenGuidance") | {"method": "toy"} | guidance)[0]
        chosen = {**WIDGETS, "sampler": sampler, "guidance": guided, "threshold": threshold}
        return NODES["ImagenBaseSample64"]().sample(stage, tiny_prompt(), **chosen)[0]

    picture = draw()
    assert picture.shape == (1, 16, 16, 3) and picture.std() > 0.01
    assert torch.equal(draw(sampler="ddim"), picture), "the toy is DDIM"
    assert not torch.equal(draw(share=0.9), picture)
    threshold = NODES["ImagenThreshold"]().make(**defaults("ImagenThreshold") | {"method": "toy", "edge": 0.25})[0]
    assert threshold.edge == 0.25
    assert (draw(threshold=threshold) - 0.5).abs().max() <= 0.125 + 1e-6


def test_a_setting_that_a_toy_has_not_is_an_error():
    for make in (CORE.make_guidance, CORE.make_thresholding):
        scale = {"scale": 2.0} if make is CORE.make_guidance else {}
        with pytest.raises(ValueError, match="rescal"):
            make("toy", **scale, rescal=0.7)
    assert dataclasses.is_dataclass(CORE.make_guidance("toy", scale=2.0, share=0.1))
    assert PACK.NODE_DISPLAY_NAME_MAPPINGS["ImagenToy"] == "Imagen Toy"
