"""Does `imagen evaluate all` measure every part, keep what it has when stopped, and go on from there?"""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from imagen_core import load_checkpoint, save_checkpoint
from imagen_core.unets import build_unet
from imagen_train import cli, contact_sheet, data, photographs
from imagen_train import drawings as kept_drawings
from imagen_train.data import PictureKind
from imagen_train.evaluate_all import PARTS, Measurement, measure_all, nearest_of
from imagen_train.metrics import bicubic, lanczos
from imagen_train.plans import things64_plan
from imagen_train.tasks import stage_spec

from .conftest import KNOWN


@pytest.fixture
def measurement(models, drawings, tmp_path, monkeypatch) -> Measurement:
    """Tiny counts, tiny pictures, a base of random weights that knows KNOWN things; chunks of two drawings."""
    root = tmp_path / "models"
    shutil.copytree(models, root)
    shutil.copytree(root / "text_encoder", root / "things_text_encoder")
    plan = things64_plan(32)
    small = {"channels": 16, "width": 32, "depth": 1, "per_head_channels": 16, "pooling_queries": 2}
    plan = dataclasses.replace(plan, unet=dataclasses.replace(plan.unet, **small), defaults={"steps": 2})
    save_checkpoint(root / "things64.safetensors", build_unet(plan.unet), spec=stage_spec(plan))
    unet, spec = load_checkpoint(root / "sr256.safetensors")
    save_checkpoint(root / "sr1024.safetensors", unet, spec=dataclasses.replace(spec, stage="sr1024"))
    for name, window in (("full256_held_out", None), ("window1024_held_out", 64)):
        tiny = PictureKind(name=name, side=128 if window else 64, window=window, chunk=2, held_out=True)
        monkeypatch.setitem(data.KINDS, name, tiny)
    monkeypatch.setattr(kept_drawings, "CHUNK", 2)
    return Measurement(
        models_dir=root,
        cache_dir=tmp_path / "cache",
        root=tmp_path / "evaluate",
        count=3,
        seeds=2,
        frechet_count=4,
        sr_count=2,
    )


def again(measurement, **changes) -> Measurement:
    """The same measurement, by another call of the command."""
    named = {field.name: getattr(measurement, field.name) for field in dataclasses.fields(measurement)}
    return Measurement(**{**named, "kept": {}, "stopped": False, **changes})


def test_the_command_line_names_every_part():
    assert tuple(PARTS) == cli.PARTS
    with pytest.raises(ValueError, match="knows no"):
        cli.main(["evaluate", "all", "--only", "words"])


def test_figures_stand_beside_what_was_asked_and_are_kept(measurement):
    only = ["files", "super_resolution", "things", "frechet", "copying"]
    figures = measure_all(measurement, only)
    assert json.loads(json.dumps(figures)) == figures and list(figures) == only
    told = figures["things"]
    assert told["things"] == KNOWN and [told[name]["pictures"] for name in told["asked"]] == [6, 6, 2]
    assert told["shown"]["backdrop"]["count"] == 6  # every caption states it
    assert not any(told["reached"]["unseen"].values()), "random weights draw noise"
    rows = figures["super_resolution"]
    assert {"sr256 0.0", "sr256 0.1", "sr1024 0.0", "sr1024 0.1"} < set(rows)
    assert rows["sr256 0.0"]["consistency"]["mean"] < rows["sr256 0.1"]["consistency"]["mean"]
    assert rows["sr256 0.0"]["psnr_lanczos"]["mean"] > 15
    row = figures["frechet"]
    assert row["ratio"] == row["frechet"] / row["floor"] and row["floor"] > 0 and row["count"] == 4
    copied = figures["copying"]
    assert copied["count"] == 4 and copied["drawn"]["5%"] > copied["renders"]["5%"] >= 0
    assert measure_all(again(measurement), ["things"])["things"] == told  # read back, minutes and all


def test_without_drawings_it_says_how_to_get_them(measurement, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEN_TRAINING_DIR", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="run `imagen data stickers` first"):
        measure_all(again(measurement), ["things"])


def test_the_nearest_picture_is_found():
    known = torch.rand(5, 3, 64, 64) * 2 - 1
    assert nearest_of(known[3:4], known).item() == pytest.approx(0, abs=1e-4)
    assert nearest_of(torch.full((1, 3, 64, 64), 1.0), torch.full((1, 3, 64, 64), -1.0)).item() == pytest.approx(1.0)


def test_ctrl_c_prints_what_is_there_and_the_next_run_goes_on(measurement, monkeypatch):
    calls, draw = [], kept_drawings.Drawings._sample

    def interrupted(self, captions, seed):
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(self, captions, seed)

    monkeypatch.setattr(kept_drawings.Drawings, "_sample", interrupted)
    figures = measure_all(measurement, ["things", "frechet"])
    assert figures["unfinished"] == ["things", "frechet"] and measurement.stopped
    assert figures["things"]["shown"]["pictures"] == 2 and not measurement.file.exists()
    figures = measure_all(again(measurement), ["things"])
    assert "unfinished" not in figures and figures["things"]["shown"]["pictures"] == 6
    assert calls[:5] == [0, 2, 2, 1_000_000, 1_000_002]  # the first chunk was not drawn again


def test_photographs_are_judged_against_bicubic(measurement):
    figures = photographs.evaluate_photographs(
        measurement.models_dir / "sr1024.safetensors", measurement.models_dir, names=("moon",)
    )
    decibels = figures["0.0"]["each_psnr"]["moon"]
    assert decibels["bicubic"] > decibels["network"] > 20 and isinstance(figures["reached"], bool)  # an untrained one
    assert photographs.photograph("astronaut").shape == (3, 512, 512)


def test_contact_sheets_hold_every_picture(measurement, tmp_path):
    from PIL import Image

    for path in contact_sheet.write_contact_sheets(measurement.models_dir, tmp_path, count=2, columns=2):
        assert Image.open(path).size == {"sheet_256": (512, 256), "sheet_1024": (1024, 2048)}[path.stem]
    assert len((tmp_path / "captions.txt").read_text().splitlines()) == 2


def test_lanczos_keeps_places_and_is_sharper_than_bicubic():
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16).contiguous()
    torch.testing.assert_close(lanczos(ramp)[..., 8:-8], bicubic(ramp)[..., 8:-8], atol=0.02, rtol=0)
    step = (ramp > 0).float()
    assert lanczos(step).diff(dim=3).abs().max() > bicubic(step).diff(dim=3).abs().max()
