"""Are kinds of guidance measured under the same captions and seeds, and is the noisy judge a classifier for everybody?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

pytest.importorskip("resvg_py")

from imagen_core import inspect_checkpoint, load_classifier, load_clip, load_stage
from imagen_core.predictor import Point
from imagen_core.schedules import schedule_from_config
from imagen_core.text.loading import load_text_encoder
from imagen_train.data import KINDS, PictureCache, drawings_folder, render_pictures
from imagen_train.evaluate import SamplingSettings
from imagen_train.options import TrainOptions
from imagen_train.stickers import guided, noisy_judge
from imagen_train.stickers.names import things
from imagen_train.stickers.pictures import open_library

MINI = Path(__file__).resolve().parents[2] / "models" / "imagen-mini"


@pytest.fixture
def judge(drawings, monkeypatch) -> Path:
    """Trained for one step."""
    for name in (noisy_judge.SHOWN, noisy_judge.TEST):
        mix = dataclasses.replace(KINDS[name].mix, scenery=0.0)
        monkeypatch.setitem(KINDS, name, dataclasses.replace(KINDS[name], chunk=16, mix=mix))
        render_pictures(KINDS[name], 16, drawings / "cache")
    monkeypatch.setattr(noisy_judge, "TEST_PICTURES", 16)
    figures = noisy_judge.train_noisy_judge(
        TrainOptions(
            state_dir=drawings / "state",
            cache_dir=drawings / "cache",
            models_dir=drawings / "models",
            max_steps=1,
            batch_size=4,
            preview_minutes=float("inf"),
        )
    )
    assert set(figures) >= {f"accuracy_at_{t:g}" for t in noisy_judge.TOLD_AT}
    return Path(figures["file"])


@pytest.fixture
def trial(judge, models, lively, monkeypatch) -> guided.Trial:
    monkeypatch.setattr(guided, "REFERENCE", 8)
    stage = load_stage(lively)
    return guided.Trial(
        stage=stage,
        encoder=load_text_encoder(models / "text_encoder"),
        clip=load_clip(MINI / "clip"),
        library=open_library(drawings_folder()),
        settings=SamplingSettings(steps=2, batch_size=3).of(stage),
        judge=load_classifier(judge),
    )


def test_the_noisy_judge_is_a_classifier_that_is_told_the_time(judge):
    classifier = load_classifier(judge)
    settings = inspect_checkpoint(judge)["settings"]
    assert len(settings["classes"]) == settings["config"].num_classes == len(things())
    x_t = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    schedule = schedule_from_config(noisy_judge.SCHEDULE)
    told = [classifier.log_probabilities(Point.on(schedule, x_t, torch.tensor(t))) for t in (0.2, 0.8)]
    assert not torch.allclose(*told)
    torch.testing.assert_close(told[0].exp().sum(1), torch.ones(2))
    (gradient,) = torch.autograd.grad(told[0][:, 3].sum(), x_t)
    assert gradient.abs().max() > 0
    with pytest.raises(ValueError, match="trained on pictures of 64x64, and sees one of 32x32"):
        classifier.network(x_t[..., :32, :32], torch.zeros(2))


def test_it_is_asked_for_single_things_alone(judge, drawings):
    cache = PictureCache(drawings / "cache", noisy_judge.SHOWN)
    named = noisy_judge.Named.of(cache)
    assert 0 < len(named.rows) < 16 and all(cache.labels["thing_2"][row] == -1 for row in named.rows.tolist())
    _, wanted = named.at(torch.tensor([1]))
    assert wanted.item() == cache.labels["thing"][named.rows[1]]


def test_guidance_that_is_off_is_the_same_picture_in_every_kind(trial):
    rows = guided.measured(trial, ["clip", "clip_clean", "classifier_free", "classifier"], [0, 1], 4)
    by_kind = {(row["kind"], row["scale"]): row for row in rows}
    figures = ("named", "nearest", "clip", "frechet")
    off = [by_kind["classifier_free", 1.0], by_kind["clip", 0.0], by_kind["clip_clean", 0.0]]
    for row in off[1:]:
        assert [row[name] for name in figures] == pytest.approx([off[0][name] for name in figures], abs=1e-5)
    for kind in ("clip", "clip_clean", "classifier"):
        assert abs(by_kind[kind, 1.0]["frechet"] - by_kind[kind, 0.0]["frechet"]) > 1e-6
    assert "nearest" not in by_kind["classifier", 0.0]
    (alone,) = guided.measured(trial, ["classifier"], [1], 4)
    assert alone == pytest.approx(by_kind["classifier", 1.0])
    assert guided.table(rows).count("\n") == 1 + len(rows)
    ElementTree.fromstring(guided.guidance_svg([by_kind["classifier", 0.0], by_kind["classifier", 1.0]]))
    json.dumps(rows)


@pytest.mark.parametrize(
    ("kinds", "count", "said"),
    [
        (["moon"], 4, "unknown kind 'moon': expected some of classifier_free, clip, "),
        (["clip"], 1, "1 pictures have no distance"),
        (["classifier"], 4, "name one with --judge"),
    ],
)
def test_what_cannot_be_measured_is_said(trial, kinds, count, said):
    with pytest.raises(ValueError, match=said):
        guided.measured(dataclasses.replace(trial, judge=None), kinds, None, count)
