"""Do controls, image prompts, classifiers and tiles steer inside ComfyUI: under its inference mode and memory manager?"""

import importlib

import pytest
import torch
from comfy import model_management

DRAWN = {"width": 16, "height": 16, "steps": 2, "seed": 5, "guidance_scale": 2.0, "sampler": "dpmpp_2m"}


@pytest.fixture
def managed(pack):
    return importlib.import_module(f"{pack.__name__}.nodes._host").managed


@pytest.fixture
def picture():
    return torch.rand(1, 20, 20, 3, generator=torch.Generator().manual_seed(0))


def trained(core, stage, name, **config):
    """An adapter of random weights, loaded from its file."""
    kind = core.ADAPTERS[name]
    torch.manual_seed(1)
    network = core.build_adapter(name, kind.config_cls(**config, **kind.config_cls.tiny), stage.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("name", ["controlnet", "t2i_adapter"])
def test_a_control_steers_and_off_it_is_not_there(run, core, make_stage, prompt, managed, picture, tmp_path, name):
    stage = make_stage()
    network = trained(core, stage, name, kinds=("edges", "palette"))
    core.save_adapter(tmp_path / "control.safetensors", network, core.AdapterSpec.of(network, stage))
    net = managed(core.load_adapter(tmp_path / "control.safetensors"))
    hint = run("ImagenPalette", image=picture, cells=4)[0]
    plain = run("ImagenBaseSample64", unet=stage, text=prompt, **DRAWN)[0]

    def steered(strength):
        control = run("ImagenControl", control_net=net, image=hint, strength=strength)[0]
        return run("ImagenBaseSample64", unet=stage, text=prompt, control=control, **DRAWN)[0]

    assert torch.equal(steered(0.0), plain)
    before = steered(1.0)
    assert (before - plain).abs().max() > 1e-3
    model_management.unload_all_models()
    assert torch.equal(steered(1.0), before)


class Reddish:
    """A classifier with a closed form: class 1 of two is the redder, the more the mean of red is above zero."""

    num_classes = 2

    def log_probabilities(self, at):
        red = at.x_t[:, 0].mean((1, 2))
        return torch.stack([-red, red], 1).log_softmax(1)


def test_a_classifier_guides(run, core, managed, tmp_path):
    torch.manual_seed(0)
    unets = importlib.import_module(f"{core.__name__}.unets")
    base = unets.ADMConfig(**unets.ADMConfig.tiny, num_classes=5)
    network = core.build_unet(base)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    facts = {
        "unet_config": base,
        "schedule_config": {"name": "cosine"},
        "prediction_type": "eps",
        "learned_variance": True,
    }
    core.save_checkpoint(tmp_path / "adm.safetensors", network, spec=core.StageSpec(stage="base16", **facts))
    stage = managed(core.load_stage(tmp_path / "adm.safetensors"))
    classifier = Reddish()
    label = run("ImagenClassLabel", label="1")[0]
    drawn = {**DRAWN, "guidance_scale": 1.0}
    plain = run("ImagenBaseSample64", unet=stage, text=label, **drawn)[0]
    guidance = run("ImagenClassifierGuidance", classifier=classifier, label="1", scale=20.0)[0]
    pulled = run("ImagenBaseSample64", unet=stage, text=label, guidance=guidance, **drawn)[0]
    assert pulled[..., 0].mean() > plain[..., 0].mean() + 1e-3


def test_one_tile_is_the_whole_picture(run, make_stage):
    stage = make_stage("sr256")
    small = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    drawn = {"unet": stage, "image": small, "steps": 2, "seed": 5, "sampler": "dpmpp_2m"}
    plain = run("ImagenSuperRes", **drawn)[0]
    assert torch.equal(run("ImagenSuperRes", **drawn, tile_size=128, overlap=32)[0], plain)
    assert run("ImagenSuperRes", **drawn, tile_size=64, overlap=32)[0].shape == plain.shape
