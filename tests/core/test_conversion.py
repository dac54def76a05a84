"""Do pickled weights become the same weights in safetensors, and is everything else in a pickle refused unrun?"""

from __future__ import annotations

import argparse
import collections
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from imagen_core import convert_weights

WEIGHTS = collections.OrderedDict(a=torch.randn(3, 2), b=torch.arange(4, dtype=torch.float16))


@pytest.mark.parametrize("inside", [None, "state_dict", "ema"])
def test_weights_come_out_as_they_were(tmp_path, inside):
    path = tmp_path / "64x64_diffusion.pt"
    torch.save(WEIGHTS if inside is None else {"epoch": 3, inside: WEIGHTS}, path)
    written = convert_weights(path, facts={"num_heads": "4"})
    assert written == tmp_path / "64x64_diffusion.safetensors"
    found = load_file(written)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in WEIGHTS.items())
    with safe_open(written, "pt") as file:
        assert file.metadata() == {"num_heads": "4"}


def test_views_of_one_memory_are_written_apart(tmp_path):
    both = torch.randn(4, 3)
    torch.save({"top": both[:2], "turned": both.T}, tmp_path / "views.ckpt")
    found = load_file(convert_weights(tmp_path / "views.ckpt", tmp_path / "out.safetensors"))
    assert torch.equal(found["top"], both[:2]) and torch.equal(found["turned"], both.T)


class Runs:
    """What a pickle may do to who loads it."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("planted", [Runs(), torch.nn.Linear(2, 2)], ids=["code", "a module"])
def test_what_is_no_weight_is_refused_unrun_and_named(tmp_path, monkeypatch, planted):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": WEIGHTS, "more": planted}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad.pt holds more than weights.*(mkdir|Linear)"):
        convert_weights(tmp_path / "bad.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


def test_other_wrong_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at .*gone.pt"):
        convert_weights(tmp_path / "gone.pt")
    for name, content in (("list.pt", [torch.zeros(1)]), ("numbers.pt", {"a": 1}), ("keys.pt", {1: torch.zeros(1)})):
        torch.save(content, tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} holds no table of weights"):
            convert_weights(tmp_path / name)
    torch.save(dict(WEIGHTS), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:200])
    with pytest.raises(ValueError, match="cut.pt is truncated or damaged"):
        convert_weights(tmp_path / "cut.pt")
    torch.save(dict(WEIGHTS), tmp_path / "twice.pt")
    convert_weights(tmp_path / "twice.pt")
    with pytest.raises(ValueError, match="twice.safetensors is there already"):
        convert_weights(tmp_path / "twice.pt")


def test_jits_checkpoint_gives_its_averaged_weights(tmp_path):
    """As its authors save a training: weights, two averages, optimiser, and the program's settings in a namespace."""
    tables = {
        name: {"net.w": torch.full((2,), float(i))} for i, name in enumerate(("model", "model_ema1", "model_ema2"))
    }
    settings = {"optimizer": {"state": {}}, "epoch": 599, "args": argparse.Namespace(model="JiT-B/16", img_size=256)}
    torch.save(tables | settings, tmp_path / "checkpoint-last.pth")
    assert load_file(convert_weights(tmp_path / "checkpoint-last.pth"))["net.w"].tolist() == [1.0, 1.0]
