"""Does a stage's description hold together, survive its file, and steer sampling: its side, its space, its way with text?"""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open

from imagen_core import (
    Draw,
    InitImage,
    Prompt,
    Stage,
    StageSpec,
    TextEmbeds,
    build_unet,
    load_checkpoint,
    load_stage,
    read_spec,
    sample_base,
    save_checkpoint,
)
from imagen_core.schedules import schedule_from_config
from imagen_core.spaces import Pixels
from imagen_core.spaces.latents import Latents
from imagen_core.text.reading import AS_DEEPFLOYD, TextReading, reading_from_dict, reading_to_dict
from imagen_core.thresholding.none import NoThresholding
from imagen_core.unets import BaseUNetConfig, DeepFloydUNetConfig, EfficientUNetConfig
from imagen_core.unets.dit import DiTConfig

CONFIG = BaseUNetConfig(
    image_size=16,
    channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(8,),
    per_head_channels=8,
    text_embed_dim=12,
)
SPEC = StageSpec(stage="base16", unet_config=CONFIG, schedule_config={"name": "cosine"}, prediction_type="x_0")
PROMPT = Prompt(text=TextEmbeds(embeds=torch.ones(1, 3, 12), mask=torch.ones(1, 3, dtype=torch.bool)))


def stage_of(spec):
    torch.manual_seed(0)
    unet = build_unet(spec.unet_config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Stage(unet=unet, schedule=schedule_from_config(spec.schedule_config), spec=spec)


def metadata_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    ("stage", "role", "side"), [("base64", "base", 64), ("base1024", "base", 1024), ("sr256", "sr", 256)]
)
def test_a_stages_name_says_its_role_and_side(stage, role, side):
    config = EfficientUNetConfig() if role == "sr" else CONFIG
    spec = dataclasses.replace(SPEC, stage=stage, unet_config=config)
    assert (spec.role, spec.native_side, spec.enlarges) == (role, side, role == "sr")


@pytest.mark.parametrize("stage", ["", "base", "base0", "sr 256", "base64x", "base99999", "64"])
def test_what_is_no_stages_name_is_refused(stage):
    with pytest.raises(ValueError, match="unknown stage .*such as base64"):
        dataclasses.replace(SPEC, stage=stage)


def test_what_enters_is_the_networks_affair():
    assert CONFIG.inputs == ("text",) and dataclasses.replace(CONFIG, text_embed_dim=None).inputs == ()
    assert EfficientUNetConfig(text_embed_dim=None, text_cross_attention=(False,) * 4).inputs == (
        "low_res",
        "aug_level",
    )
    assert set(DeepFloydUNetConfig(low_res_conditioning=True).inputs) == {"text", "low_res", "aug_level"}
    assert DiTConfig().inputs == ("class",)
    with pytest.raises(ValueError, match="sr256 stage enlarges pictures, and this network is shown none"):
        dataclasses.replace(SPEC, stage="sr256")


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"stage": "base64"}, "1"),
        ({}, "2"),
        ({"stage": "base64", "text": TextReading(tokens=20, lower_case=True)}, "2"),
        ({"stage": "base64", "space": Latents(factor=4, scale=0.5)}, "2"),
    ],
)
def test_a_file_needs_the_newer_version_only_for_what_the_older_did_not_know(tmp_path, changes, version):
    spec = dataclasses.replace(SPEC, **changes)
    path = tmp_path / "it.safetensors"
    save_checkpoint(path, build_unet(CONFIG), spec=spec)
    assert read_spec(path) == spec == load_checkpoint(path)[1]
    assert metadata_of(path)["format_version"] == version


def test_deepfloyds_network_in_a_file_of_version_1_reads_text_as_it_did(tmp_path):
    config = DeepFloydUNetConfig(
        channels=(32, 32),
        num_res_blocks=(1, 1),
        attention=(False, True),
        per_head_channels=32,
        text_embed_dim=32,
        text_width=32,
        pooling_heads=32,
    )
    spec = dataclasses.replace(SPEC, stage="base64", unet_config=config, learned_variance=True, text=AS_DEEPFLOYD)
    save_checkpoint(tmp_path / "it.safetensors", build_unet(config), spec=spec)
    assert "text" not in metadata_of(tmp_path / "it.safetensors")
    assert read_spec(tmp_path / "it.safetensors").text == AS_DEEPFLOYD


@pytest.mark.parametrize(
    "settings",
    [{"tokens": 0}, {"tokens": "77"}, {"tokens": True}, {"null": "nothing"}, {"lower_case": 1}, {"colour": "red"}],
)
def test_a_way_with_text_that_is_none_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings)).replace("null", "null prompt")):
        reading_from_dict(settings)


def test_a_way_with_text_survives_json():
    for reading in (TextReading(), AS_DEEPFLOYD):
        assert reading_from_dict(json.loads(json.dumps(reading_to_dict(reading)))) == reading


def test_a_base_draws_at_its_own_side_where_nobody_names_another():
    stage = stage_of(SPEC)
    draw = Draw(seeds=[1], steps=2)
    assert sample_base(stage, PROMPT, draw).shape == (1, 3, 16, 16)
    assert torch.equal(sample_base(stage, PROMPT, draw), sample_base(stage, PROMPT, draw, height=16, width=16))
    assert sample_base(stage, PROMPT, draw, height=8).shape == (1, 3, 8, 16)


def test_latents_are_smaller_unclipped_and_seen_as_pictures(tmp_path):
    config = dataclasses.replace(CONFIG, in_channels=4, out_channels=4)
    spec = dataclasses.replace(SPEC, stage="base128", unet_config=config, space=Latents(scale=0.5))
    save_checkpoint(tmp_path / "it.safetensors", stage_of(spec).unet, spec=spec)
    stage, seen = load_stage(tmp_path / "it.safetensors"), []
    draw = Draw(seeds=[1], steps=3, callback=lambda step, total, prediction: seen.append(prediction.x_0))
    drawn = sample_base(stage, PROMPT, draw)
    assert drawn.shape == (1, 4, 16, 16) and drawn.dtype == torch.float32
    assert all(each.shape == (1, 3, 16, 16) and each.abs().max() <= 1 for each in seen) and len(seen) == 3
    unscaled = sample_base(
        dataclasses.replace(stage, spec=dataclasses.replace(spec, space=Latents(scale=1.0))),
        PROMPT,
        Draw(seeds=[1], steps=3),
    )
    torch.testing.assert_close(drawn * 0.5, unscaled, atol=0, rtol=1e-6)
    with pytest.raises(ValueError, match="no multiple of 8 pixels"):
        sample_base(stage, PROMPT, draw, height=100)
    with pytest.raises(ValueError, match="draws latents cannot start from a picture"):
        sample_base(stage, PROMPT, dataclasses.replace(draw, init=InitImage(pixels=torch.zeros(1, 3, 8, 8))))
    assert Latents().thresholding() == NoThresholding() and Pixels().preview(drawn) is drawn
