"""Does `imagen train lora` teach things64 from a folder, where nothing else is named, and refuse in one line?"""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from imagen_core import load_stage, read_lora, with_lora
from imagen_train import cli
from imagen_train.options import default_models_dir


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "ten").mkdir()
    for color in ("red", "blue"):
        Image.new("RGB", (70, 64), color).save(tmp_path / "ten" / f"{color}.png")
        (tmp_path / "ten" / f"{color}.txt").write_text(f"a {color} zibble")
    return tmp_path / "ten"


def asked(pictures, *more):
    place = pictures.parent
    settings = ["--steps", "2", "--rank", "2", "--batch-size", "1", "--targets", "linear"]
    return [
        "train",
        "lora",
        str(pictures),
        "--out",
        str(place / "a.safetensors"),
        "--cache-dir",
        str(place),
        *settings,
        *more,
    ]


def test_things64_is_taught_and_its_class_kept(pictures, capsys):
    assert cli.main(asked(pictures, "--class-prompt", "a 3D emoji of a fox", "--class-images", "1")) == 0
    lora = read_lora(pictures.parent / "a.safetensors")
    assert (lora.training["pictures"], lora.training["class_pictures"], lora.training["steps"]) == (2, 1, 2)
    stage = load_stage(default_models_dir() / "things64.safetensors")
    taught = with_lora(stage, lora).unet.state_dict()
    assert any(not torch.equal(taught[name], weight) for name, weight in stage.unet.state_dict().items())


@pytest.mark.parametrize(
    "more, message",
    [
        (
            ["--class-prompt", "a fox", "--class-prompt", "a car", "--class-images", "1"],
            "1 class pictures for 2 class prompts",
        ),
        (["--prior-loss-weight", "-1"], "prior_loss_weight is -1.0"),
        (["--text-encoder", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_said(pictures, more, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        cli.main(asked(pictures, *more))
    assert not (pictures.parent / "a.safetensors").exists()
