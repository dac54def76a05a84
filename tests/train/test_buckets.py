"""Do pictures that are not square keep their shape, in batches of one bucket, and does nothing change without buckets?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagen_core.stage import load_stage
from imagen_train import cli, prepared
from imagen_train.buckets import Buckets, kept
from imagen_train.own_pictures import collection_of
from imagen_train.own_run import train_own
from imagen_train.prepared import fitted, prepare
from imagen_train.run_config import read_run_config

CONFIG = """
out = "out"
text_encoder = "{encoder}"
{top}
[data]
path = "pictures"
side = 16
held_out = 0.3
{data}
[network]
{network}
[run]
steps = 4
batch_size = 3
preview_minutes = 5.0
[samples]
prompts = ["number 3"]
steps = 2
"""
U_VIT = "patch_size = 2\nchannels = 16\nwidth = 32\ndepth = 2\nper_head_channels = 16\n"
U_VIT += "time_embed_dim = 32\nfine_channels = 0"
EFFICIENT = """kind = "efficient"\nchannels = [16]\nnum_res_blocks = [1]\nstrides = [1]
self_attention = [false]\ntext_cross_attention = [false]"""
SIZES = [(40, 20)] * 8 + [(20, 40)] * 4 + [(24, 24)] * 6 + [(400, 20)] + [(12, 30)]


@pytest.fixture
def place(tmp_path) -> Path:
    """Twenty pictures of five sizes, each with its number in the red of its pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate(SIZES):
        Image.new("RGB", size, (i, 0, 0)).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(f"number {i}")
    return tmp_path


def _config(place: Path, models: Path, *, data: str = "", top: str = "", network: str = U_VIT) -> Path:
    path = place / "run.toml"
    path.write_text(CONFIG.format(encoder=models / "text_encoder", data=data, top=top, network=network))
    return path


def test_buckets_have_the_area_of_the_square_and_both_ways():
    assert Buckets().sizes(64) == ((48, 80), (56, 72), (64, 64), (72, 56), (80, 48))
    assert Buckets(max_aspect_ratio=1).sizes(64) == ((64, 64),)
    for side, step in ((20, 8), (64, 16), (100, 3), (512, 64)):
        sizes = Buckets(step=step, max_aspect_ratio=4).sizes(side)
        assert (side, side) in sizes and set(sizes) == {(h, w) for w, h in sizes}
        assert all(w * h <= side * side and max(w / h, h / w) <= 4 for w, h in sizes)
    assert [Buckets().of(size, 64) for size in ((640, 640), (1000, 600), (600, 1000), (9000, 10))] == [
        (64, 64),
        (80, 48),
        (48, 80),
        (80, 48),
    ]
    assert kept((200, 100), (64, 64)) == pytest.approx(0.5) and kept((200, 100), (80, 40)) == pytest.approx(1)


def test_a_picture_is_cut_about_its_middle_to_the_shape_of_its_bucket():
    picture = Image.fromarray(np.arange(12 * 24 * 3, dtype=np.uint16).astype(np.uint8).reshape(12, 24, 3))
    small = fitted(picture, (6, 4))  # 18 of 24 columns
    middle = np.asarray(picture)[:, 3:21].astype(float).reshape(4, 3, 6, 3, 3).mean((1, 3))
    assert small.shape == (4, 6, 3) and np.abs(small - middle).max() <= 0.5 + 1e-6
    with pytest.raises(ValueError, match="24x12 is smaller than the 10x13 px of its bucket"):
        fitted(picture, (10, 13))


def test_a_batch_is_of_one_bucket_and_every_picture_comes_as_often(place):
    shown = prepare(collection_of(place / "pictures"), place, side=16, buckets=Buckets(step=4)).shown
    counts = {shape: len(numbers) for shape, numbers in shown.buckets.items()}
    assert counts == {(12, 20): 9, (16, 16): 6, (20, 12): 5}  # the widest and the narrowest are cut a little
    generator, seen = torch.Generator().manual_seed(0), Counter()
    for _ in range(500):
        batch = shown.drawn(4, generator).tolist()
        pictures = shown.pictures(batch)
        numbers = ((pictures[:, 0] + 1) * 127.5).round().flatten(1)
        assert [int(row[0]) for row in numbers] == [int(shown.captions[i].split()[1]) for i in batch]
        seen.update(batch)
    expected = 500 * 4 / len(SIZES)
    assert len(seen) == len(SIZES) and all(abs(count - expected) < 60 for count in seen.values())


def test_without_buckets_batches_and_files_are_as_before(place):
    shown = prepare(collection_of(place / "pictures"), place, side=12).shown
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    assert torch.equal(shown.drawn(5, first), torch.randint(len(shown), (5,), generator=second))
    grown = shown.crops(2, 8, first, turn=False).large
    index = torch.randint(len(shown), (2,), generator=second).tolist()[0]
    torch.randint(2, (3, 2), generator=second)  # where crops begin, as a square has it
    assert grown.shape == (2, 3, 8, 8) and round((grown[0, 0, 0, 0].item() + 1) * 127.5) == index


def test_preparing_buckets_goes_on_where_it_was_killed(place, monkeypatch):
    monkeypatch.setattr(prepared, "CHUNK", 3)
    (place / "pictures" / "01_cut.png").write_bytes((place / "pictures" / "00.png").read_bytes()[:40])
    asked = {"side": 16, "buckets": Buckets(step=4), "say": lambda line: None}
    whole = prepare(collection_of(place / "pictures"), place / "a", **asked)
    real, calls = prepared._write_chunk, []

    def killed(*args):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(args)
        real(*args)

    monkeypatch.setattr(prepared, "_write_chunk", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(collection_of(place / "pictures"), place / "b", **asked)
    monkeypatch.setattr(prepared, "_write_chunk", real)
    again = prepare(collection_of(place / "pictures"), place / "b", **asked)
    assert again.left_out == whole.left_out and len(again.left_out) == 1
    assert again.shown.captions == whole.shown.captions and len(set(again.shown.captions)) == len(SIZES)
    pairs = list(zip(again.shown.chunks, whole.shown.chunks, strict=True))
    assert len(pairs) == 7 and all(np.array_equal(*pair) for pair in pairs)


def test_a_stage_trains_on_buckets_and_draws_in_the_usual_shape(place, models):
    config = read_run_config(_config(place, models, data="buckets = {step = 4}"))
    assert train_own(config).state.images == 4 * 3
    assert load_stage(place / "out" / "base64.safetensors").spec.unet_config.width == 32
    preview = Image.open(place / "out" / "training" / "preview_0000004.png", formats=["PNG"])
    counts = Counter()
    for file in (place / "out" / "cache").glob("*/shown/?????.npy"):
        counts[np.load(file).shape[2:0:-1]] += len(np.load(file))
    (width, height), _ = counts.most_common(1)[0]
    assert width != height and preview.size == (2 * width, 2 * height)  # one prompt, doubled


def test_a_stage_that_enlarges_crops_any_shape(place, models):
    path = _config(place, models, top='stage = "sr256"', data="crop = 8\nbuckets = {step = 4}", network=EFFICIENT)
    assert train_own(read_run_config(path)).state.images == 4 * 3


MISTAKES = {
    "buckets is True, expected a table": "buckets = true",
    "data: buckets has no setting 'steps': did you mean step": "buckets = {steps = 8}",
    "buckets: step is 0, expected 1 or more": "buckets = {step = 0}",
    "max_aspect_ratio is 0.5, expected 1": "buckets = {max_aspect_ratio = 0.5}",
    "buckets.step is 32, expected 1 to 16": "buckets = {step = 32}",
    "crop is 14, expected 4 to 12": "buckets = {step = 4}\ncrop = 14",
    "crop is 20, expected 4 to 16": "crop = 20",
}


@pytest.mark.parametrize("message", MISTAKES)
def test_every_mistake_is_named(message, place, models):
    with pytest.raises(ValueError, match=message):
        read_run_config(_config(place, models, data=MISTAKES[message]))


def test_stages_that_enlarge_ask_for_multiples_of_four(place, models):
    for data in ("buckets = {step = 6}", "crop = 10"):
        with pytest.raises(ValueError, match="sr256 enlarges four times: take a multiple of 4"):
            read_run_config(_config(place, models, top='stage = "sr256"', data=data))


def test_check_says_what_buckets_there_would_be(place, capsys):
    assert cli.main(["data", "check", str(place / "pictures"), "--side", "16", "--bucket-step", "4"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["buckets"] == {"20x12": 9, "16x16": 6, "12x20": 5}
    assert figures["kept_in_squares"] < 0.7 < figures["kept_in_buckets"] < 0.9
    assert "14 pictures are not square" in err and "buckets = {} in [data] would keep" in err
    assert "12x20 (5)" in err and "joins them" in err
    with pytest.raises(ValueError, match="max_aspect_ratio is 9.0"):
        cli.main(["data", "check", str(place / "pictures"), "--max-aspect-ratio", "9"])
