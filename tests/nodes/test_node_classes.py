"""Classes by number, from the node to the core."""

import importlib.util

import pytest
import torch
from pack import CORE, NODES, ROOT
from safetensors.torch import save_file
from snapshot import nodes

_spec = importlib.util.spec_from_file_location("stored_jit", ROOT / "tests" / "core" / "stored" / "jit.py")
layout = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(layout)


def test_numbers_become_classes():
    make = NODES["ImagenClassLabel"]().make
    assert make("207")[0] == CORE.Classes(labels=(207,))
    assert make(" 207, 88 ")[0] == CORE.Classes(labels=(207, 88))
    for wrong in ("", "dog", "1,,2", "-1", "1.5"):
        with pytest.raises(ValueError, match="is no name of ImageNet's thousand classes: give a name or a number"):
            make(wrong)


def test_a_published_jit_draws_through_the_nodes(tmp_path):
    """The authors' names, a class, a picture: the file's bytes are random, the way is the published one's."""
    path = tmp_path / "jit.safetensors"
    torch.manual_seed(0)
    save_file({key: torch.randn(shape) * 0.1 for key, shape in layout.shapes()[0].items()}, path)
    stage = CORE.load_stage(path)
    asked = NODES["ImagenClassLabel"]().make("1, 2")[0]
    settings = {
        "seed": 0,
        "steps": 3,
        "guidance_scale": 2.0,
        "sampler": "heun",
        "width": 32,
        "height": 32,
        "batch_size": 2,
    }
    image = NODES["ImagenBaseSample64"]().sample(stage, asked, **settings)[0]
    assert image.shape == (2, 32, 32, 3) and torch.isfinite(image).all() and (image[0] - image[1]).abs().max() > 0.01


def test_names_become_classes():
    make = NODES["ImagenClassLabel"]().make
    assert make("Golden Retriever, 88, tench")[0] == CORE.Classes(labels=(207, 88, 0))
    assert make("Tinca tinca")[0] == make("tench")[0]  # a synonym
    with pytest.raises(ValueError, match="near it are golden retriever"):
        make("gold retriever")
    with pytest.raises(ValueError, match="'crane' is the name of the classes 134, 517"):
        make("crane")


def tiny_dit():
    """A DiT stage whose weights are random, in latents of 64 pixels."""
    unets = importlib.import_module(f"{CORE.__name__}.unets")
    spaces = importlib.import_module(f"{CORE.__name__}.spaces")
    torch.manual_seed(0)
    config = unets.UNETS["dit"][0](side=8, width=16, mlp_width=64, depth=2, heads=2, num_classes=5)
    network = CORE.build_unet(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    schedule = {"name": "discrete", "betas": "linear"}
    spec = CORE.StageSpec(
        stage="base64",
        unet_config=config,
        schedule_config=schedule,
        prediction_type="eps",
        learned_variance=True,
        space=spaces.SPACES["latents"](),
    )
    return CORE.Stage(unet=network, schedule=CORE.SCHEDULES["discrete"](betas="linear"), spec=spec)


def test_latents_come_as_the_hosts_vae_takes_them():
    asked = NODES["ImagenClassLabel"]().make("3")[0]
    settings = {
        "seed": 0,
        "steps": 3,
        "guidance_scale": 2.0,
        "sampler": "ddpm",
        "width": 0,
        "height": 0,
        "batch_size": 2,
    }
    (latents,) = nodes()["ImagenSampleLatents"]().sample(tiny_dit(), asked, **settings)
    assert latents["samples"].shape == (2, 4, 8, 8) and torch.isfinite(latents["samples"]).all()
    with pytest.raises(ValueError, match="draws latents: use Imagen Sample Latents"):
        NODES["ImagenBaseSample64"]().sample(tiny_dit(), asked, **settings)
