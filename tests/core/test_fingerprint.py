"""Does a sidecar know its base: in any precision, fine-tuned, and from one of another training or another shape?"""

import copy
import dataclasses

import pytest
import torch

from imagen_core import Fingerprint, Stage, StageSpec, build_unet, check_fits, fingerprint
from imagen_core.schedules import schedule_from_config
from imagen_core.unets import BaseUNetConfig

CONFIG = BaseUNetConfig(
    image_size=8,
    channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
    per_head_channels=8,
    text_embed_dim=12,
)


def stage_of(seed, config=CONFIG, name="base64"):
    torch.manual_seed(seed)
    unet = build_unet(config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    spec = StageSpec(stage=name, unet_config=config, schedule_config={"name": "cosine"}, prediction_type="x_0")
    return Stage(unet=unet, schedule=schedule_from_config(spec.schedule_config), spec=spec)


@pytest.fixture(scope="module")
def base():
    return stage_of(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_its_base_fits_in_every_precision(base, dtype):
    known = Fingerprint.from_json(fingerprint(base).to_json(), "a file")
    assert known == fingerprint(base) and len(known.weights) == 16
    other = dataclasses.replace(base, unet=copy.deepcopy(base.unet).to(dtype).to(memory_format=torch.channels_last))
    check_fits(known, other, "this control")
    assert all(abs(a - b) < 0.01 for a, b in zip(known.weights, fingerprint(other).weights, strict=True))


def test_a_fine_tuned_base_fits(base):
    tuned = copy.deepcopy(base.unet)
    for parameter in tuned.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))  # a fifth of the weights' own size
    check_fits(fingerprint(base), dataclasses.replace(base, unet=tuned), "this control")


def test_other_weights_and_other_shapes_are_one_sentence(base):
    known = fingerprint(base)
    for seed in range(1, 6):
        with pytest.raises(ValueError, match="^this control was made for a base64 stage with other weights"):
            check_fits(known, stage_of(seed), "this control")
    wider = dataclasses.replace(CONFIG, channels=32)
    with pytest.raises(ValueError, match="this control was made for another network: load it beside its own base"):
        check_fits(known, stage_of(0, wider), "this control")
    with pytest.raises(ValueError, match="for a base64 stage, and this is base256: load"):
        check_fits(known, stage_of(0, wider, "base256"), "this control")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"stage": "base64", "layout": "a", "weights": ["much"]}'])
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(ValueError, match="a file"):
        Fingerprint.from_json(text, "a file")
