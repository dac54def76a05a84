"""Does the reader of signs spell, learn, and keep its file honest?"""

from __future__ import annotations

import json

import pytest
import torch

from imagen_train import reader
from imagen_train.data import KINDS, PictureKind, render_pictures
from imagen_train.metrics import judge_words
from imagen_train.options import TrainOptions
from imagen_train.reader import (
    BLANK,
    COLUMNS,
    LETTERS,
    Reader,
    ReaderTask,
    Signs,
    load_reader,
    read_words,
    reading_accuracy,
    save_reader,
    spelled,
    train_reader,
)
from imagen_train.scenes import sample_scenes

SMALL = [
    PictureKind(name="base64", side=64, chunk=60),
    PictureKind(name="base64_pairs", side=64, chunk=60, held_out=True, first_seed=500),
    PictureKind(name="base64_held_out", side=64, chunk=60, held_out=True),
]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("signs"), dict(KINDS)
    KINDS.update({kind.name: kind for kind in SMALL})
    for kind in SMALL:
        render_pictures(kind, 60, folder)
    yield folder
    KINDS.update(before)


class _Says(torch.nn.Module):
    """Puts out one row of classes a picture, whatever it shows."""

    def __init__(self, *rows: str):
        super().__init__()
        classes = [[BLANK if c == "-" else LETTERS.index(c) + 1 for c in row] for row in rows]
        self.logits = torch.nn.functional.one_hot(torch.tensor(classes), len(LETTERS) + 1).float()

    def forward(self, x):
        return self.logits[: len(x)]


def test_repeats_are_one_letter_unless_a_blank_parts_them():
    assert read_words(_Says("-HHI--", "-O-OZZ", "------"), torch.zeros(3, 3, 64, 64)) == ["HI", "OOZ", ""]


def test_words_are_spelled_as_ctc_takes_them():
    classes, lengths = spelled(["AB", "Z"])
    assert classes.tolist() == [1, 2, 26] and lengths.tolist() == [2, 1]
    assert Reader()(torch.zeros(2, 3, 64, 64)).shape == (2, COLUMNS, 27)


def test_signs_are_the_pictures_with_words(cache_dir):
    signs = Signs.of(cache_dir, "base64")
    said = sample_scenes(60, seed=0).words
    assert [said[row] for row in signs.rows] == list(signs.words) and 0 < len(signs) == sum(w is not None for w in said)
    assert all(signs.words[i] in signs.cache.captions[row] for i, row in enumerate(signs.rows))


def test_it_learns_a_handful_of_signs_by_heart(cache_dir):
    signs = Signs.of(cache_dir, "base64")
    few = sorted(range(len(signs)), key=lambda i: len(signs.words[i]))[:2]  # short words: soon learned
    signs = Signs(cache=signs.cache, rows=tuple(signs.rows[i] for i in few), words=tuple(signs.words[i] for i in few))
    task = ReaderTask(signs=(signs,), held_out=signs, batch_size=4)
    torch.manual_seed(0)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(300):
        loss = task.loss(model, torch.Generator().manual_seed(step), 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9 and reading_accuracy(model.eval(), signs)["words"] > 0.4:
            return
    raise AssertionError(f"after {step + 1} steps it reads {read_words(model, signs.cache.pictures(signs.rows))}")


def test_training_writes_a_reader_with_its_figures(cache_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "PAIR_PICTURES", 60)
    options = TrainOptions(
        state_dir=tmp_path, cache_dir=cache_dir, models_dir=tmp_path / "models", max_steps=2, batch_size=4
    )
    figures = train_reader(options)
    assert json.loads(json.dumps(figures)) == figures and set(figures["accuracy"]) == {"words", "words_up_to_5"}
    assert load_reader(tmp_path / "models" / "reader.safetensors")


def test_another_kind_of_file_is_refused(models):
    with pytest.raises(ValueError, match="imagen train reader"):
        load_reader(models / "classifier.safetensors")


def test_a_saved_reader_reads_the_same(tmp_path):
    torch.manual_seed(0)
    model, pictures = Reader().half().float().eval(), torch.randn(4, 3, 64, 64)
    assert read_words(load_reader(save_reader(model, tmp_path / "reader.safetensors", {})), pictures) == read_words(
        model, pictures
    )


def test_only_short_words_count_and_new_ones_stand_apart():
    batch = sample_scenes(200, seed=3, held_out=True)
    right = judge_words([word or "" for word in batch.words], batch)
    short = [word for word in batch.words if word and len(word) <= 5]
    assert right["words"]["accuracy"] == 1 and right["words"]["n"] == len(short)
    assert right["known"]["n"] + right["new"]["n"] == len(short) and min(right["known"]["n"], right["new"]["n"]) > 0
    assert judge_words(["?"] * 200, batch)["words"]["accuracy"] == 0
