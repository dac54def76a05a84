"""A stage that draws classes: told by number, guided away from none, and every wrong wire named."""

from dataclasses import replace

import pytest
import torch

from imagen_core import (
    Classes,
    Draw,
    Prompt,
    StageSpec,
    TextEmbeds,
    load_stage,
    make_guidance,
    sample_base,
    save_checkpoint,
)
from imagen_core.stage import Stage
from imagen_core.unets import BaseUNet, BaseUNetConfig, build_unet
from imagen_core.unets.jit import JiTConfig

CONFIG = JiTConfig(**JiTConfig.tiny)
FLOW = {"name": "flow", "time_scale": 1.0, "towards_clean": True}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A tiny JiT out of this pack's own file, none of whose weights is zero."""
    torch.manual_seed(0)
    network = build_unet(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    spec = StageSpec(stage="base64", unet_config=CONFIG, schedule_config=FLOW, prediction_type="x_0")
    path = tmp_path_factory.mktemp("jit") / "tiny.safetensors"
    save_checkpoint(path, network, spec=spec)
    return load_stage(path)


def draw(stage, labels, seeds=(0, 1), scale=1.0):
    settings = Draw(seeds=seeds, steps=4, guidance=make_guidance(scale=scale))
    return sample_base(stage, Classes(labels=labels), settings, height=16, width=16)


def test_classes_are_drawn_one_for_all_or_one_each(stage):
    both = draw(stage, (1, 4))
    assert torch.isfinite(both).all() and both.shape == (2, 3, 16, 16)
    torch.testing.assert_close(draw(stage, (1,))[0], both[0])
    assert (draw(stage, (1,))[1] - both[1]).abs().max() > 1e-3
    torch.testing.assert_close(draw(stage, (4,), seeds=(1,))[0], both[1], atol=1e-5, rtol=1e-4)


def test_guidance_steers_away_from_no_class(stage):
    plain, guided = draw(stage, (1,)), draw(stage, (1,), scale=3.0)
    assert (guided - plain).abs().max() > 1e-3
    told = stage.encode_prompt(Classes(labels=(1,)), 2)
    assert torch.equal(told["null"].vector, stage.unet.encode_class().vector.expand(2, -1))


def test_what_does_not_fit_is_named(stage):
    prompt = Prompt(text=TextEmbeds.null(1, 8))
    for asked in (None, prompt):
        with pytest.raises(ValueError, match="one of 5 classes.*Imagen Class Label"):
            stage.encode_prompt(asked, 1)
    with pytest.raises(ValueError, match="label 5 is no class"):
        stage.encode_prompt(Classes(labels=(5,)), 1)
    with pytest.raises(ValueError, match="2 classes for 3 images"):
        stage.encode_prompt(Classes(labels=(1, 2)), 3)
    with pytest.raises(ValueError, match="no class is named"):
        Classes(labels=())
    reads_text = BaseUNetConfig(
        channels=8, channel_mult=(1,), attention_resolutions=(), num_res_blocks=1, per_head_channels=8, text_embed_dim=8
    )
    spec = replace(stage.spec, unet_config=reads_text)
    other = Stage(unet=BaseUNet(reads_text), schedule=stage.schedule, spec=spec)
    with pytest.raises(ValueError, match="draws no classes.*Imagen Text Encode"):
        other.encode_prompt(Classes(labels=(1,)), 1)


def test_a_network_without_classes_needs_none(stage):
    config = replace(CONFIG, num_classes=0)
    blank = Stage(unet=build_unet(config), schedule=stage.schedule, spec=replace(stage.spec, unet_config=config))
    told = blank.encode_prompt(None, 3)
    assert list(told) == ["cond"] and told["cond"].vector.shape == (3, config.width)


def test_its_memory_is_known(stage):
    assert stage.activation_bytes(32, 32) > stage.activation_bytes(16, 16) > 16 * 16 * 3 * 4
