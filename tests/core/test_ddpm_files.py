"""Are DDPM's published folders (google/ddpm-*) read as diffusers reads them? Layouts tested, published weights not."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from imagen_core import Draw, load_stage, read_spec, sample_base
from imagen_core.checkpoints.adm_keys import trunk_map
from imagen_core.checkpoints.ddpm_keys import as_ddpm, modern_shapes
from imagen_core.checkpoints.readers.adm import Flags, config_from_shapes
from imagen_core.conditioning import Signals
from imagen_core.samplers.ddpm import DDPM
from imagen_core.unets import ADM

diffusers = pytest.importorskip("diffusers")
SETTINGS = {  # of google/ddpm-*, but for sizes
    "act_fn": "silu",
    "attention_head_dim": None,
    "center_input_sample": False,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "time_embedding_type": "positional",
}
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def levels(widths, attending):
    """block_out_channels and the types of blocks; `attending`: which levels, finest first."""
    kinds = ["Attn" if level in attending else "" for level in range(len(widths))]
    down, up = ([f"{kind}{way}Block2D" for kind in order] for way, order in (("Down", kinds), ("Up", kinds[::-1])))
    return {"block_out_channels": widths, "down_block_types": down, "up_block_types": up}


TINY = SETTINGS | {"sample_size": 16, "layers_per_block": 1} | levels((32, 64), {1})
PUBLISHED = {
    "google/ddpm-cifar10-32": (levels((128, 256, 256, 256), {1}), 35_746_307),
    "google/ddpm-celebahq-256": (levels((128, 128, 256, 256, 512, 512), {4}), 113_673_219),
}


@pytest.fixture
def peer():
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(**TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return network


def renamed(key):
    return next((key.replace(new, old) for new, old in OLD.items() if new in key), key)


def folder_of(peer, folder, *, old=True, **scheduler):
    """As they were published: everything in one folder, attention under its names of then."""
    folder.mkdir()
    weights = {renamed(key) if old else key: value.contiguous() for key, value in peer.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    settings = {"_class_name": "UNet2DModel", "_diffusers_version": "0.1.1", **TINY}
    (folder / "config.json").write_text(json.dumps(settings))
    noise = {"_class_name": "DDPMScheduler", "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    noise |= {"num_train_timesteps": 1000, "trained_betas": None, "clip_sample": True, **scheduler}
    (folder / "scheduler_config.json").write_text(json.dumps(noise))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    return folder


@pytest.mark.parametrize("old", [True, False])
def test_a_folder_of_ddpms_is_the_same_network(peer, old, tmp_path):
    stage = load_stage(folder_of(peer, tmp_path / "ddpm", old=old, variance_type="fixed_small"))
    assert (stage.spec.stage, stage.spec.learned_variance) == ("base16", False)
    assert stage.spec.schedule_config == {"name": "discrete", "betas": "linear", "num_timesteps": 1000}
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for time in (0, 417, 999):
        with torch.inference_mode():
            found = stage.unet(x_t, torch.full((2,), float(time)), Signals())
        expected = peer(x_t, time).sample
        assert expected.std() > 0.05
        torch.testing.assert_close(found, expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_the_variance_of_its_scheduler_is_that_of_its_steps(peer, variance, tmp_path):
    """A whole run beside DDPMScheduler's, without a word about thresholding or variance."""
    stage = load_stage(folder_of(peer, tmp_path / "ddpm", variance_type=variance))
    found = sample_base(stage, None, Draw(seeds=(3,), steps=8, sampler=DDPM(), spacing="leading"), height=16, width=16)
    scheduler = diffusers.DDPMScheduler(variance_type=variance, clip_sample=True)
    scheduler.set_timesteps(8)
    generator = torch.Generator().manual_seed(3)
    x_t = torch.randn((1, 3, 16, 16), generator=generator)
    for t in scheduler.timesteps:
        x_t = scheduler.step(peer(x_t, t).sample, t, x_t, generator=generator).prev_sample
    assert x_t.std() > 0.05
    torch.testing.assert_close(found, x_t.clamp(-1.0, 1.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_the_published_keys(name):
    widths, count = PUBLISHED[name]
    with torch.device("meta"):
        peer = diffusers.UNet2DModel(**SETTINGS | widths)
        shapes = {renamed(key): tuple(value.shape) for key, value in peer.state_dict().items()}
        ours = ADM(config_from_shapes(modern_shapes(shapes), Flags(image_size=0, num_heads=1), "diffusers"))
        table = as_ddpm(trunk_map(ours, "diffusers"), shapes, sines_first=True)
    assert {key: shape for entry in table.values() for key, shape in entry.parts.items()} == shapes
    assert sum(weight.numel() for weight in ours.parameters()) == count


def test_a_setting_of_another_network_is_named(peer, tmp_path):
    folder = folder_of(peer, tmp_path / "ddpm")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"time_embedding_type": "fourier"}))
    with pytest.raises(ValueError, match="time_embedding_type is 'fourier'"):
        read_spec(folder)
