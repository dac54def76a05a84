"""Is ADM's network with its flags what diffusers computes for each relative, and are OpenAI's files read as they are?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import original_weights

from imagen_core import load_checkpoint, read_spec
from imagen_core.checkpoints.adm_keys import apart, cell_places, trunk_map
from imagen_core.checkpoints.readers.adm import PUBLISHED, _flags, config_from_shapes, spec_of
from imagen_core.conditioning import Signals, Tokens
from imagen_core.super_resolution import upsample
from imagen_core.unets import ADM, ADMConfig, build_unet

FORWARD = (
    5e-6  # OpenAI's own code against diffusers': 4e-6 as measured (adm.md), 4.3e-6 without AVX-512; deviations .1 to 1
)
LABELS = torch.tensor([1, 4])


def random_norms(network, seed=0):
    """diffusers' network, in which norms and biases are random too."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return network.eval().requires_grad_(False)


def theirs(**changes):
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    settings = {
        "sample_size": 16,
        "in_channels": 3,
        "out_channels": 6,
        "layers_per_block": 1,
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
        "attention_head_dim": 32,
        "attn_norm_num_groups": 32,
        "num_class_embeds": 5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }
    return random_norms(UNet2DModel(**settings | changes))


def inputs(channels=3, side=16, seed=1):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(seed))


def loaded(network, weights, key_map):
    """Our network, filled by a key map with weights of theirs, all of which it takes."""
    assert {part for entry in key_map.values() for part in entry.parts} == weights.keys()
    network.load_state_dict(
        {key: entry.join([weights[part] for part in entry.parts]) for key, entry in key_map.items()}
    )
    return network.eval().requires_grad_(False)


def close(found, expected):
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < FORWARD


@pytest.mark.parametrize("new_order", [False, True])
@pytest.mark.parametrize("time", [0, 417, 999])
def test_a_file_of_openais_draws_what_diffusers_draws(new_order, time, tmp_path):
    peer = theirs()
    weights = {key: value.contiguous() for key, value in original_weights(peer, head_by_head=not new_order).items()}
    flags = {"image_size": "16", "num_head_channels": "32", "use_new_attention_order": str(new_order)}
    save_file(weights, tmp_path / "16x16_diffusion.safetensors", metadata=flags)
    unet, spec = load_checkpoint(tmp_path / "16x16_diffusion.safetensors")
    assert spec.unet_config.num_classes == 5 and spec.learned_variance
    x_t = inputs()
    with torch.inference_mode():
        found = unet(x_t, torch.full((2,), float(time)), unet.encode_class(LABELS))
        close(found, peer(x_t, time, class_labels=LABELS).sample)


def folder_of(peer, folder, **scheduler):
    """A pipeline's folder as diffusers saves it."""
    from diffusers import DDPMPipeline, DDPMScheduler

    DDPMPipeline(unet=peer, scheduler=DDPMScheduler(**scheduler)).save_pretrained(folder)
    return folder


def test_a_folder_of_diffusers_is_the_same_network(tmp_path):
    """Its pipeline's folder, its unet/ alone beside scheduler/, and OpenAI's file of the same weights."""
    peer = theirs()
    folder = folder_of(peer, tmp_path / "adm", variance_type="learned_range", beta_schedule="squaredcos_cap_v2")
    unet, spec = load_checkpoint(folder)
    assert (spec.stage, spec.prediction_type, spec.learned_variance) == ("base16", "eps", True)
    assert spec.schedule_config["betas"] == "squaredcos_cap_v2" and spec == read_spec(folder / "unet")
    with torch.inference_mode():
        found = unet(inputs(), torch.full((2,), 417.0), unet.encode_class(LABELS))
        close(found, peer(inputs(), 417, class_labels=LABELS).sample)
    weights = {key: value.contiguous() for key, value in original_weights(peer, head_by_head=True).items()}
    save_file(weights, tmp_path / "a.safetensors", metadata={"image_size": "16", "num_head_channels": "32"})
    other, _ = load_checkpoint(tmp_path / "a.safetensors")
    assert all(torch.equal(other.state_dict()[key], value) for key, value in unet.state_dict().items())


def test_a_folder_whose_scheduler_contradicts_the_network_is_named(tmp_path):
    folder = folder_of(theirs(), tmp_path / "adm", variance_type="fixed_small")
    with pytest.raises(ValueError, match="puts out a variance.*variance_type to learned_range"):
        read_spec(folder)


def test_openais_consistency_models_are_not_taken_for_adms():
    """The same names and shapes but for the head; their networks read q, k and v in the new order."""
    with torch.device("meta"):
        unet = ADM(
            ADMConfig(channels=(192, 384, 576, 768), num_res_blocks=(3,) * 4, attention=(False, True, True, True))
        )
    shapes = {key: shape for entry in trunk_map(unet, "original").values() for key, shape in entry.parts.items()}
    shapes["out.2.weight"] = (3, 192, 3, 3)
    with pytest.raises(ValueError, match="no variance.*--flag noise_schedule=consistency"):
        _flags(SimpleNamespace(shapes=shapes, metadata={}))
    told = {"noise_schedule": "consistency", "use_new_attention_order": "true"}
    flags = _flags(SimpleNamespace(shapes=shapes, metadata=told))
    spec = spec_of(config_from_shapes(shapes, flags), flags)
    assert (spec.stage, spec.prediction_type, spec.learned_variance) == ("base64", "consistency", False)


def test_an_upsampler_reads_the_small_picture_enlarged(tmp_path):
    peer = theirs(in_channels=6, block_out_channels=(32, 32, 64))
    save_file(
        {key: value.contiguous() for key, value in original_weights(peer).items()},
        tmp_path / "up.safetensors",
        metadata={"image_size": "256", "num_head_channels": "32"},
    )
    unet, spec = load_checkpoint(tmp_path / "up.safetensors")
    assert spec.enlarges and spec.unet_config.pixels == ("low_res",)
    x_t, small = inputs(), inputs(side=4, seed=2)
    enlarged = torch.nn.functional.interpolate(small, (16, 16), mode="bilinear")
    assert torch.allclose(upsample(small, (16, 16), spec.low_res_resize), enlarged, atol=1e-6)
    with torch.inference_mode():
        told = unet.encode_class(LABELS) + Signals(pixels=enlarged)
        found = unet(x_t, torch.full((2,), 300.0), told)
        close(found, peer(torch.cat([x_t, enlarged], dim=1), 300, class_labels=LABELS).sample)


def test_heads_of_one_number_a_layer():
    """128x128_diffusion.pt has four heads in every layer; diffusers has one width of heads for all, so on one level."""
    peer = theirs(block_out_channels=(64,), down_block_types=("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",))
    config = {"channels": (64,), "num_res_blocks": (1,), "attention": (True,), "num_classes": 5}
    outputs = []
    for heads in ({"num_heads": 2, "per_head_channels": 7}, {"per_head_channels": 32}):
        unet = build_unet(ADMConfig(**config, **heads))
        loaded(unet, peer.state_dict(), trunk_map(unet, "diffusers"))
        outputs.append(unet(inputs(), torch.full((2,), 10.0), unet.encode_class(LABELS)))
    assert torch.equal(*outputs)
    close(outputs[0], peer(inputs(), 10, class_labels=LABELS).sample)


@pytest.mark.parametrize("head_by_head", [True, False])
def test_karlos_upsamplers_resample_by_convolutions_and_add_the_time(head_by_head):
    peer = theirs(
        in_channels=6,
        out_channels=3,
        down_block_types=("ResnetDownsampleBlock2D",) * 3 if head_by_head else ("DownBlock2D",) * 3,
        up_block_types=("ResnetUpsampleBlock2D",) * 3 if head_by_head else ("UpBlock2D",) * 3,
        downsample_type="conv",
        upsample_type="conv",
        resnet_time_scale_shift="default",
        add_attention=False,
        num_class_embeds=None,
    )
    config = ADMConfig(
        out_channels=3,
        channels=(32, 64, 64),
        num_res_blocks=(1, 1, 1),
        attention=(False,) * 3,
        middle_attention=False,
        scale_shift=False,
        resample_by_block=head_by_head,
        pixels=("low_res",),
    )
    unet = build_unet(config)
    loaded(unet, peer.state_dict(), trunk_map(unet, "diffusers"))
    x_t, low_res = inputs(), inputs(seed=3)
    found = unet(x_t, torch.full((2,), 999.0), Signals(pixels=low_res))
    close(found, peer(torch.cat([x_t, low_res], dim=1), 999).sample)


@pytest.mark.parametrize("masked", [False, True], ids=["GLIDE", "Karlo"])
def test_glide_and_karlo_join_tokens_and_a_vector(masked):
    """What their text transformers hand over is given here: a vector beside the time, and tokens; Karlo hides padding."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    peer = UNet2DConditionModel(
        sample_size=16,
        in_channels=3,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        cross_attention_dim=24,
        attention_head_dim=32,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )
    random_norms(peer)
    config = ADMConfig(
        channels=(32, 64),
        num_res_blocks=(1, 1),
        attention=(False, True),
        per_head_channels=32,
        text_embed_dim=24,
        text_norm=None,
        text_pooling=None,
        text_mask=masked,
    )
    unet = build_unet(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    key_map = trunk_map(unet, "diffusers")
    for place in cell_places(unet, "diffusers"):
        if place.cell.attention is not None:
            parts = [f"{place.attention}.add_{part}_proj" for part in "kv"]
            key_map |= apart(shapes, f"{place.ours}.attention.text_keys_values", parts)
    loaded(unet, peer.state_dict(), key_map)
    generator = torch.Generator().manual_seed(4)
    tokens, vector = torch.randn(2, 5, 24, generator=generator), torch.randn(2, 128, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [3]]) if masked else None
    told = Signals(vector=vector, tokens=Tokens(keys_values=unet._projected(tokens, None).keys_values, mask=mask))
    found = unet(inputs(), torch.full((2,), 250.0), told)
    expected = peer(inputs(), 250, tokens, class_labels=vector, encoder_attention_mask=mask).sample
    close(found, expected)


# What guided-diffusion's files hold, by their flags: parameters and tensors as counted of OpenAI's own code (adm.md).
FILES = {
    "64x64_diffusion": (64, 1, 3, 1000, 295_904_454, 541),
    "128x128_diffusion": (128, 1, 2, 1000, 421_529_606, 493),
    "256x256_diffusion": (256, 1, 2, 1000, 553_838_086, 567),
    "256x256_diffusion_uncond": (256, 1, 2, None, 552_814_086, 566),
    "512x512_diffusion": (512, 1, 2, 1000, 558_997_638, 645),
    "64_256_upsampler": (256, 2, 2, 1000, 311_795_910, 567),
    "128_512_upsampler": (512, 2, 2, 1000, 308_835_270, 537),
}


@pytest.mark.parametrize("name", FILES)
def test_published_sizes(name):
    """Keys and counts of the full networks, without their memory, and the way back from their shapes."""
    side, pictures, depth, classes, parameters, tensors = FILES[name]
    (((channels, attending, _), flags),) = (
        item for item in PUBLISHED.items() if (item[1].image_size, item[0][2]) == (side, pictures)
    )
    config = ADMConfig(
        channels=channels,
        num_res_blocks=(depth,) * len(channels),
        attention=tuple(level in attending for level in range(len(channels))),
        num_heads=flags.num_heads or None,
        time_width=192 if channels[0] == 192 else 256,
        num_classes=classes,
        pixels=("low_res",) if pictures == 2 else (),
    )
    with torch.device("meta"):
        unet = ADM(config)
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters
    shapes = {key: shape for entry in trunk_map(unet, "original").values() for key, shape in entry.parts.items()}
    assert len(shapes) == tensors
    found = config_from_shapes(shapes, flags)
    assert found == ADMConfig(**{**vars(config), "time_embed_dim": config.embed_dim})


def test_what_shapes_do_not_tell_has_to_be_said(tmp_path):
    weights = {key: value.contiguous() for key, value in original_weights(theirs()).items()}
    path = tmp_path / "mine.safetensors"
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"no published ADM network.*\(32, 64, 64\).*--flag image_size"):
        read_spec(path)
    for flags, word in (
        ({"image_size": "big"}, "image_size"),
        ({"image_size": "16", "use_new_attention_order": "1"}, "use_new_attention_order"),
        ({"image_size": "16", "noise_schedule": "sqrt"}, "noise_schedule"),
        ({"image_size": "16", "num_head_channels": "48"}, "per_head_channels=48"),
    ):
        save_file(weights, path, metadata=flags)
        with pytest.raises(ValueError, match=word):
            load_checkpoint(path)


def test_labels_that_are_no_class_and_missing_ones_are_named():
    unet = build_unet(ADMConfig(**ADMConfig.tiny, num_classes=3))
    with pytest.raises(ValueError, match="label 3 is no class.*3, 0 to 2"):
        unet.encode_class(torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="told none: add encode_class"):
        unet(inputs(), torch.zeros(2), Signals())
    with pytest.raises(ValueError, match="without classes"):
        build_unet(ADMConfig(**ADMConfig.tiny)).encode_class(torch.tensor([0]))
