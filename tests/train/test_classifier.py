"""Does the judge go by places, learn, and come back from its file equal?"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from imagen_train import classifier
from imagen_train.classifier import (
    ARRANGEMENTS,
    FEATURES,
    HEADS,
    Classifier,
    ClassifierTask,
    by_place,
    classify,
    labelled_pictures,
    load_classifier,
    picture_targets,
    save_classifier,
    train_classifier,
)
from imagen_train.data import KINDS, PictureKind, render_pictures
from imagen_train.options import TrainOptions
from imagen_train.scenes.scene import Scene, Thing
from imagen_train.scenes.vocabulary import LAYOUTS

RED_SPHERE, BLUE_CUBE, SIGN = Thing(0, 0), Thing(5, 1, 2, 0), Thing(3, 7)
NAMES = list(HEADS)


def _scene(layout: str, *things: Thing, word: str | None = None) -> Scene:
    return Scene(LAYOUTS.index(layout), 4, things, word)


def _read(scene: Scene, *, flipped: bool = False) -> dict[str, int]:
    return dict(zip(NAMES, picture_targets([scene], flipped=flipped)[0].tolist(), strict=True))


def test_one_picture_has_one_reading_however_it_is_said():
    left, right = _scene("left", RED_SPHERE, BLUE_CUBE), _scene("right", BLUE_CUBE, RED_SPHERE)
    assert by_place(left) == by_place(right) == (RED_SPHERE, BLUE_CUBE)
    assert _read(left) == _read(right)
    assert _read(_scene("above", RED_SPHERE, BLUE_CUBE)) == _read(_scene("below", BLUE_CUBE, RED_SPHERE))


def test_a_mirror_swaps_sides_but_not_above_and_below():
    left, above = _scene("left", RED_SPHERE, BLUE_CUBE), _scene("above", RED_SPHERE, BLUE_CUBE)
    assert _read(left, flipped=True) == _read(_scene("left", BLUE_CUBE, RED_SPHERE))
    assert _read(above, flipped=True) == _read(above)
    trio = _scene("trio", RED_SPHERE, BLUE_CUBE, Thing(7, 3))
    assert _read(trio, flipped=True)["color_1"] == 7


def test_what_is_not_there_is_minus_one():
    sign = _read(_scene("sign", SIGN, word="HI"))
    assert (sign["material_1"], sign["size_1"], sign["color_2"]) == (-1, -1, -1)
    assert ARRANGEMENTS[_read(_scene("two", RED_SPHERE, RED_SPHERE))["arrangement"]] == "two"
    assert _read(_scene("two", RED_SPHERE, RED_SPHERE))["color_2"] == -1


def test_shapes_and_file(tmp_path):
    torch.manual_seed(0)
    model = Classifier().eval()
    pictures = torch.rand(3, 3, 64, 64) * 2 - 1
    seen = classify(model, pictures, batch_size=2)
    assert seen["features"].shape == (3, FEATURES)
    assert [maps.shape[2:] for maps in model.maps(torch.zeros(1, 3, 32, 96))] == [(8, 24), (4, 12)]
    again = classify(load_classifier(save_classifier(model, tmp_path / "c.safetensors", {})), pictures)
    assert torch.allclose(seen["features"], again["features"], atol=2e-2)  # kept as float16


def test_another_file_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="imagen train classifier"):
        load_classifier(tmp_path / "x.safetensors")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    small = {name: PictureKind(name=name, side=64, held_out="held" in name, chunk=24) for name in NAMES_OF_CACHE}
    before = {name: KINDS[name] for name in small}
    KINDS.update(small)
    for kind in small.values():
        render_pictures(kind, 24, folder)
    yield folder
    KINDS.update(before)


NAMES_OF_CACHE = ("base64", "base64_held_out", "base64_pairs")


def test_it_learns_a_handful_of_pictures_by_heart(cache_dir):
    data = labelled_pictures(cache_dir, "base64")
    task, model = ClassifierTask(data=data, pairs=data, held_out=data, batch_size=12), Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(12):
        loss = task.loss(model, torch.Generator().manual_seed(step), 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


def test_training_writes_a_judge_with_its_figures(cache_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "PAIR_PICTURES", 24)
    options = TrainOptions(
        state_dir=tmp_path, cache_dir=cache_dir, models_dir=tmp_path / "models", max_steps=2, batch_size=4
    )
    figures = train_classifier(options)
    assert set(figures["accuracy"]) == set(HEADS) and figures["pictures"] == 48
    assert json.loads(json.dumps(figures)) == figures
    assert load_classifier(tmp_path / "models" / "classifier.safetensors")


def test_pictures_of_another_time_are_refused(cache_dir, tmp_path):
    folder = tmp_path / "base64"
    folder.mkdir()
    for name in ("00000.npy", "00000.json"):
        (folder / name).write_bytes((cache_dir / "base64" / name).read_bytes())
    about = json.loads((folder / "00000.json").read_text())
    about["captions"][0] = "something else"
    (folder / "00000.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="render again"):
        labelled_pictures(tmp_path, "base64")
