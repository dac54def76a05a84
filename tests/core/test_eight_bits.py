"""Do networks whose weights stay in eight bits draw the same, in half of the memory, under LoRAs and fingerprints too?"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from imagen_core import (
    LoraSettings,
    Prompt,
    StageSpec,
    TextEmbeds,
    build_unet,
    fingerprint,
    fit_lora,
    load_stage,
    save_checkpoint,
    with_lora,
)
from imagen_core.eight_bits import EightBitConv2d, EightBitLinear, eight_bit_layers, in_eight_bits, rounded, whole_again
from imagen_core.unets import BaseUNetConfig

CONFIG = BaseUNetConfig(
    image_size=16, channels=64, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8,), per_head_channels=32,
    text_embed_dim=32,
)  # fmt: skip
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(scope="module", params=["int8", "float32"])
def file(request, tmp_path_factory):
    torch.manual_seed(0)
    unet = build_unet(CONFIG)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    spec = StageSpec(stage="base64", unet_config=CONFIG, schedule_config={"name": "cosine"}, prediction_type="x_0")
    path = tmp_path_factory.mktemp("coarse") / "base.safetensors"
    save_checkpoint(path, unet, spec=spec, dtype=getattr(torch, request.param))
    return path


def told() -> TextEmbeds:
    torch.manual_seed(1)
    return TextEmbeds(embeds=torch.randn(2, 3, 32), mask=torch.ones(2, 3, dtype=torch.bool))


@torch.no_grad()
def output(stage, dtype=torch.float32) -> torch.Tensor:
    torch.manual_seed(2)
    x_t, text = torch.randn(2, 3, 16, 16), told()
    signals = stage.unet.encode_text(TextEmbeds(embeds=text.embeds.to(dtype), mask=text.mask))
    return stage.unet(x_t.to(dtype), torch.tensor([300.0, 700.0]), signals).float()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 30), (6, 5, 3, 3)])
def test_each_number_is_off_by_half_a_step_of_its_row_at_most(dtype, shape):
    torch.manual_seed(0)
    weight = torch.randn(shape) * torch.logspace(-6, 1, shape[0]).view(-1, *[1] * (len(shape) - 1))
    weight[0] = 0.0
    numbers, scale = rounded(weight, dtype)
    assert numbers.dtype == torch.int8 and scale.dtype == dtype and scale.numel() == shape[0]
    error = (numbers.float() * scale.float() - weight).abs()
    assert (error <= (0.5 + (0.75 if dtype != torch.float32 else 1e-3)) * scale.float()).all()
    assert (numbers[0] == 0).all()
    again = rounded(numbers.float() * scale.float(), dtype)
    assert torch.equal(again[0], numbers) and torch.equal(again[1], scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_stage_holds_a_byte_a_weight_and_draws_the_same(file, dtype):
    whole, small = load_stage(file, dtype=dtype), load_stage(file, dtype=dtype, eight_bits=True)
    layers = eight_bit_layers(small.unet)
    assert {type(layer) for layer in layers.values()} == {EightBitLinear, EightBitConv2d}
    assert small.dtype == dtype and all(layer.weight.dtype == dtype for layer in layers.values())
    held = [sum(t.nbytes for t in stage.unet.state_dict().values()) for stage in (whole, small)]
    assert held[1] < 1.1 * held[0] / dtype.itemsize
    exact = output(load_stage(file))
    error = (output(small, dtype) - exact).norm() / exact.norm()
    assert error < (0.02 if dtype == torch.float32 else 0.04)
    for name, layer in layers.items():  # half a step of a row is the most that a weight may be off by
        kept = whole.unet.get_submodule(name).weight
        assert ((layer.weight - kept).abs() <= 0.52 * layer.weight_scale + 0.01 * kept.abs()).all()


def test_what_a_file_holds_as_int8_is_held_as_it_is(file):
    small = load_stage(file, eight_bits=True)
    path = file.with_name("again.safetensors")
    save_checkpoint(path, load_stage(file).unet, spec=small.spec, dtype=torch.int8)
    again = load_stage(path, eight_bits=True)
    same = [
        torch.equal(a, b)
        for a, b in zip(small.unet.buffers(), again.unet.buffers(), strict=True)
        if a.dtype == torch.int8
    ]
    assert same and all(same)


def test_sidecars_of_the_base_fit_it(file):
    whole, small = load_stage(file), load_stage(file, eight_bits=True)
    assert fingerprint(small).layout == fingerprint(whole).layout
    assert fingerprint(small).weights == pytest.approx(fingerprint(whole).weights, abs=0.05)


def test_a_lora_is_learned_on_it_and_laid_over_it(file):
    whole, small = load_stage(file), load_stage(file, eight_bits=True)
    prompts = [Prompt(text=TextEmbeds(embeds=told().embeds[:1], mask=told().mask[:1]))]
    with torch.inference_mode():  # as hosts run
        lora = fit_lora(small, torch.zeros(1, 3, 16, 16), prompts, LoraSettings(rank=2, steps=2, batch_size=1))
    assert set(eight_bit_layers(small.unet)) <= set(lora.changes)
    strong = {
        name: dataclasses.replace(change, up=torch.randn_like(change.up) * 0.2) for name, change in lora.changes.items()
    }
    lora = dataclasses.replace(lora, changes=strong)
    before = {key: value.clone() for key, value in small.unet.state_dict().items()}
    changed = with_lora(small, lora)
    wanted, plain = output(with_lora(whole, lora)), output(whole)
    error = (output(changed) - wanted).norm()
    assert error < 0.15 * (wanted - plain).norm()
    assert all(torch.equal(before[key], value) for key, value in small.unet.state_dict().items())
    assert set(eight_bit_layers(changed.unet)) == set(eight_bit_layers(small.unet))
    assert changed.unet.stem.bias is not None and changed.dtype == torch.float32


def test_its_weight_can_be_set_as_hosts_do_that_patch_it():
    torch.manual_seed(0)
    network = in_eight_bits(nn.Sequential(nn.Linear(64, 64), nn.Linear(4, 4)), torch.float32)
    assert type(network[0]) is EightBitLinear and type(network[1]) is nn.Linear
    first, new = network[0], torch.randn(64, 64)
    first.weight = nn.Parameter(new, requires_grad=False)
    assert torch.allclose(first.weight, new, atol=new.abs().max().item() / 250)
    kept = first.weight
    first.weight = kept
    assert torch.equal(first.weight, kept)
    assert in_eight_bits(network, torch.float32)[0] is first
    assert (
        sorted(first.state_dict()) == ["bias", "weight", "weight_scale"]
        and first.state_dict()["weight"].dtype == torch.int8
    )
    again = whole_again(network)[0]
    assert (
        type(again) is nn.Linear
        and torch.equal(again.weight, kept)
        and sorted(again.state_dict()) == ["bias", "weight"]
    )
