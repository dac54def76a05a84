"""Does `imagen evaluate all` measure every part, keep what it has when stopped, and go on from there?"""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from imagen_core import load_checkpoint, save_checkpoint
from imagen_core.unets import build_unet
from imagen_train import cli, contact_sheet, data, drawings, evaluate_all, photographs
from imagen_train.data import PictureKind
from imagen_train.evaluate_all import PARTS, Measurement, measure_all
from imagen_train.metrics import bicubic, lanczos
from imagen_train.plans import things64_plan
from imagen_train.tasks import stage_spec

from .conftest import KNOWN


@pytest.fixture
def measurement(models, tmp_path, monkeypatch) -> Measurement:
    """Tiny counts, tiny pictures; chunks of two drawings."""
    unet, spec = load_checkpoint(models / "sr256.safetensors")
    save_checkpoint(models / "sr1024.safetensors", unet, spec=dataclasses.replace(spec, stage="sr1024"))
    for name, window in (("full256_held_out", None), ("window1024_held_out", 64)):
        tiny = PictureKind(name=name, side=128 if window else 64, window=window, chunk=2, held_out=True)
        monkeypatch.setitem(data.KINDS, name, tiny)
    monkeypatch.setattr(drawings, "CHUNK", 2)
    return Measurement(
        models_dir=models,
        cache_dir=tmp_path / "cache",
        root=tmp_path / "evaluate",
        count=3,
        seeds=2,
        frechet_count=4,
        sr_count=2,
    )


def test_the_command_line_names_every_part():
    assert tuple(PARTS) == cli.PARTS
    with pytest.raises(ValueError, match="knows no"):
        cli.main(["evaluate", "all", "--only", "words"])


def test_figures_stand_beside_what_was_asked_and_are_kept(measurement):
    only = ["files", "super_resolution", "alignment", "frechet"]
    figures = measure_all(measurement, only)
    assert json.loads(json.dumps(figures)) == figures and list(figures) == only
    assert figures["alignment"]["pictures"] == 6
    assert figures["alignment"]["samples"]["shape_1"]["n"] == 2 * figures["alignment"]["renders"]["shape_1"]["n"]
    assert set(figures["alignment"]["reached"]) == set(figures["alignment"]["asked"])
    rows = figures["super_resolution"]
    assert {"sr256 0.0", "sr256 0.1", "sr1024 0.0", "sr1024 0.1"} < set(rows)
    assert rows["sr256 0.0"]["consistency"]["mean"] < rows["sr256 0.1"]["consistency"]["mean"]
    assert rows["sr256 0.0"]["psnr_lanczos"]["mean"] > 15
    assert set(figures["alignment"]["samples"]) >= {"words", "known", "new"}
    row = figures["frechet"]
    assert row["ratio"] == row["frechet"] / row["floor"] and row["floor"] > 0 and row["count"] == 4
    again = Measurement(**{**vars(measurement), "kept": {}})
    assert measure_all(again, ["alignment"])["alignment"] == figures["alignment"]  # read back, minutes and all


def test_named_things_are_judged_where_they_are_drawn(measurement, drawings):
    """A base of random weights draws noise: no render of what was asked for is the nearest to it."""
    left_out = measure_all(dataclasses.replace(measurement, count=2), ["things"])["things"]["left_out"]
    assert left_out == f"there is no things64.safetensors in {measurement.models_dir}"
    plan, models = things64_plan(32), drawings / "models"
    small = {"channels": 16, "width": 32, "depth": 1, "per_head_channels": 16, "pooling_queries": 2}
    plan = dataclasses.replace(plan, unet=dataclasses.replace(plan.unet, **small), defaults={"steps": 2})
    shutil.copytree(measurement.models_dir, models)
    save_checkpoint(models / "things64.safetensors", build_unet(plan.unet), spec=stage_spec(plan))
    shutil.copytree(models / "text_encoder", models / "things_text_encoder")
    drawn = dataclasses.replace(measurement, models_dir=models, count=4, seeds=2, kept={})
    figures = measure_all(drawn, ["things"])["things"]
    assert figures["things"] == KNOWN and figures["shown"]["backdrop"]["count"] == 8
    assert set(figures["reached"]) == {"shown", "unseen", "renamed"} and not figures["reached"]["unseen"]["thing"]


def test_ctrl_c_prints_what_is_there_and_the_next_run_goes_on(measurement, monkeypatch):
    calls, draw = [], drawings.Drawings._sample

    def interrupted(self, captions, seed):
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(self, captions, seed)

    monkeypatch.setattr(drawings.Drawings, "_sample", interrupted)
    figures = measure_all(measurement, ["alignment", "frechet"])
    assert figures["unfinished"] == ["alignment", "frechet"] and measurement.stopped
    assert figures["alignment"]["pictures"] == 2 and not measurement.file.exists()
    again = Measurement(**{**vars(measurement), "kept": {}, "stopped": False})
    figures = measure_all(again, ["alignment"])
    assert "unfinished" not in figures and figures["alignment"]["pictures"] == 6
    assert calls == [0, 2, 2, 1_000_000, 1_000_002]  # the first chunk was not drawn again


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
        assert (
            Image.open(path).size
            == {
                "sheet_64": (256, 128),
                "sheet_256": (512, 256),
                "sheet_1024": (512, 256),
                "sheet_1024_whole": (1024, 1024),
            }[path.stem]
        )
    assert len((tmp_path / "captions.txt").read_text().splitlines()) == 2


def test_a_judge_below_par_is_said_to_be(measurement, monkeypatch):
    monkeypatch.setitem(
        data.KINDS, "base64_held_out", PictureKind(name="base64_held_out", side=64, chunk=512, held_out=True)
    )
    figures = evaluate_all.judge(measurement)
    assert figures["reached"] is False and len(figures["heads"]) == 12 and figures["pictures"] == 512


def test_lanczos_keeps_places_and_is_sharper_than_bicubic():
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16).contiguous()
    torch.testing.assert_close(lanczos(ramp)[..., 8:-8], bicubic(ramp)[..., 8:-8], atol=0.02, rtol=0)
    step = (ramp > 0).float()
    assert lanczos(step).diff(dim=3).abs().max() > bicubic(step).diff(dim=3).abs().max()
