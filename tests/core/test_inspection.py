"""Does `inspect_checkpoint`, and `imagen inspect` with it, say rightly what each kind of checkpoint is?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from deepfloyd_fixtures import original_weights, save_folder, save_single, tiny_unet  # noqa: E402
from t5_files import make_folder, plain, write_gguf  # noqa: E402

from imagen_core import inspect_checkpoint  # noqa: E402
from imagen_host.cli import main  # noqa: E402

MINI = Path(__file__).resolve().parents[2] / "models" / "imagen-mini"


@pytest.fixture(scope="module")
def unet():
    return tiny_unet("sr256")


def test_a_deepfloyd_folder(unet, tmp_path):
    folder = save_folder(tmp_path / "IF", "sr256", unet.half(), variant="fp16", shards=True)
    unet.float()
    found = inspect_checkpoint(folder)
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert (found["kind"], found["stage"], found["naming"]) == ("DeepFloyd IF stage", "sr256", "diffusers")
    assert found["parameters"] == count and found["formats"] == {"F16": count}
    assert 2 * count < found["bytes"] < 2 * count + 300_000 and len(found["files"]) > 2
    assert found["network"]["kind"] == "deepfloyd_if" and found["network"]["channels"] == (32, 32, 64, 64, 128)
    assert found["schedule"]["betas"] == "squaredcos_cap_v2" and found["learned_variance"] is True
    assert found["defaults"]["aug_level"] == 0.25 and found["aug_zero_is_clean"] is False
    json.dumps(found)


def test_the_original_naming(unet, tmp_path):
    found = inspect_checkpoint(save_single(tmp_path / "x.safetensors", original_weights(unet)))
    assert (found["naming"], found["stage"]) == ("original", "sr256")
    torch.save(original_weights(unet), tmp_path / "pytorch_model.bin")
    assert inspect_checkpoint(tmp_path / "pytorch_model.bin")["parameters"] == found["parameters"]


def test_our_own_stages():
    found = inspect_checkpoint(MINI / "things64.safetensors")
    assert (found["kind"], found["stage"], found["prediction_type"]) == ("Imagen stage", "base64", "x_0")
    assert found["parameters"] > 1e6 and "naming" not in found


def test_text_encoders(tmp_path):
    folder = make_folder(tmp_path / "t5")
    found = inspect_checkpoint(folder)
    assert found["kind"] == "T5 text encoder" and set(found["formats"]) == {"F32"}
    assert (found["settings"]["d_model"], found["settings"]["num_layers"]) == (32, 2)
    single = inspect_checkpoint(plain(folder, tmp_path / "fp8.safetensors", torch.float8_e4m3fn, keep_wo=True))
    assert set(single["formats"]) == {"F8_E4M3", "F32"} and single["parameters"] == found["parameters"]
    wide = make_folder(tmp_path / "wide", width=256)
    quantised = inspect_checkpoint(write_gguf(wide, tmp_path / "t5.gguf", "Q8_0"))
    assert "Q8_0" in quantised["formats"] and quantised["settings"]["d_model"] == 256


def test_what_it_is_not(tmp_path):
    save_file({"a.b": torch.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="1 weights, first 'a.b', .*a text encoder"):
        inspect_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        inspect_checkpoint(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no stage"):
        inspect_checkpoint(tmp_path)


def test_the_command(unet, tmp_path, capsys):
    folder = save_folder(tmp_path / "IF", "sr256", unet, shards=True)
    assert main(["inspect", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stage"] == "sr256" and found["network"]["attention"] == [False, False, False, True, True]
    assert main(["inspect", str(folder)]) == 0
    text = capsys.readouterr().out
    for part in ("DeepFloyd IF stage", "sr256", "F32", "more", "aug_level = 0.25", "channels = 32 32 64 64 128"):
        assert part in text, text
    assert main(["inspect", str(tmp_path / "gone")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["things64.safetensors", "control.safetensors", "clip", "things_text_encoder"])
def test_the_command_prints_the_settings_of_every_kind_of_file_that_ships(capsys, name):
    assert main(["inspect", str(MINI / name), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] > 100_000
    if name == "control.safetensors":
        assert found["settings"]["config"]["kinds"] == ["edges", "palette", "scribble", "segments"]
