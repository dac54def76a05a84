"""Are people's pictures found with their captions in every form, checked, and prepared so that a kill loses nothing?"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagen_train import cli, prepared
from imagen_train.caption_files import CaptionEmbeds
from imagen_train.own_pictures import collection_of
from imagen_train.prepared import fitted, is_held_out, picture_of, prepare

CAPTIONS = {"a.png": "a red square", "sub/b.png": "a green square", "c.png": "a blue square"}
COLORS = {"a.png": "red", "sub/b.png": "green", "c.png": "blue"}


def _picture(name: str, size: tuple[int, int] = (12, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, COLORS[name]).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three pictures, one in a folder of its own; no captions yet."""
    place = tmp_path / "pictures"
    for name in COLORS:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(_picture(name))
    (place / ".thumbnails").mkdir()
    (place / ".thumbnails" / "a.png").write_bytes(b"not looked at")
    return place


def _beside(folder: Path) -> None:
    for name, text in CAPTIONS.items():
        (folder / name).with_suffix(".txt").write_text(f" {text}\n", encoding="utf-8-sig")


def _csv(folder: Path, name: str = "metadata.csv", columns=("file_name", "text")) -> None:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([columns, *CAPTIONS.items()])


def _jsonl(folder: Path) -> None:
    rows = [json.dumps({"image": name, "prompt": text}) for name, text in CAPTIONS.items()]
    (folder / "any.jsonl").write_text("\n".join([*rows, ""]))


def _tar(folder: Path) -> None:
    with tarfile.open(folder / "000.tar", "w") as archive:
        for name, text in CAPTIONS.items():
            about = json.dumps({"caption": text}).encode()
            for suffix, data in (("png", _picture(name)), ("json", about)):
                member = tarfile.TarInfo(f"{Path(name).stem}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _dataset(folder: Path):
    datasets = pytest.importorskip("datasets")
    images = [{"bytes": _picture(name), "path": None} for name in CAPTIONS]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    return datasets.Dataset.from_dict({"image": images, "text": list(CAPTIONS.values())}, features=features)


FORMS = {
    "text beside": ("folder", _beside),
    "metadata.csv": ("folder", _csv),
    "any csv": ("folder", lambda folder: _csv(folder, "list.csv", ("path", "caption"))),
    "jsonl": ("folder", _jsonl),
    "tar": ("web_dataset", lambda folder: (pytest.importorskip("webdataset"), _tar(folder))),
    "parquet": ("hugging_face", lambda folder: _dataset(folder).to_parquet(str(folder / "train.parquet"))),
    "saved dataset": ("hugging_face", lambda folder: _dataset(folder).save_to_disk(str(folder))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_its_pictures_with_their_captions(form, folder):
    kind, lay_out = FORMS[form]
    lay_out(folder)
    collection = collection_of(folder)
    assert collection.name == kind
    found = {record.caption: picture_of(record).getpixel((5, 5)) for record in collection.records()}
    colors = {name: Image.new("RGB", (1, 1), color).getpixel((0, 0)) for name, color in COLORS.items()}
    assert found == {CAPTIONS[name]: colors[name] for name in CAPTIONS}
    names = [record.name for record in collection.records()]
    assert len(set(names)) == 3 and names == [record.name for record in collection_of(folder).records()]


def test_a_table_that_is_named_itself_is_all_that_counts(folder):
    _csv(folder, "few.csv")
    (folder / "besides.png").write_bytes(_picture("a.png"))
    collection = collection_of(folder / "few.csv")
    assert [record.name for record in collection.records()] == sorted(CAPTIONS)
    before = collection.fingerprint()
    (folder / "besides.png").unlink()
    assert collection_of(folder / "few.csv").fingerprint() == before
    (folder / "a.png").write_bytes(_picture("a.png", (9, 9)))
    assert collection_of(folder / "few.csv").fingerprint() != before
    (folder / "few.csv").write_text("who,what\n1,2\n")
    with pytest.raises(ValueError, match="few.csv has columns who, what, none of them a picture's file"):
        list(collection_of(folder / "few.csv").records())


def test_a_dataset_that_only_names_its_files_is_read_from_its_own_place_on(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(folder)
    table = datasets.Dataset.from_dict({"image": ["a.png", "gone.png"], "text": ["one", "two"]})
    table.to_parquet(str(folder / "named.parquet"))
    monkeypatch.chdir("/")
    there, gone = collection_of(folder / "named.parquet").records()
    assert picture_of(there).size == Image.open(folder / "a.png").size
    with pytest.raises(ValueError, match="row 1 of .* names gone.png, which is not there"):
        picture_of(gone)


def test_what_cannot_be_trained_on_is_said_by_name(folder, tmp_path):
    for place in (tmp_path / "nowhere", tmp_path):
        if place.exists():
            place = place / "empty"
            place.mkdir()
        with pytest.raises(ValueError, match="there are no pictures"):
            collection_of(place)
    _csv(folder, columns=("file_name", "artist"))
    with pytest.raises(ValueError, match="file_name, artist, none of them a caption"):
        list(collection_of(folder).records())
    captions = [record.caption for record in collection_of(folder, "artist").records()]
    assert captions == ["a red square", "a blue square", "a green square"]
    (folder / "metadata.csv").unlink()
    (folder / "list.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n{oops\n')
    with pytest.raises(ValueError, match="line 2, is no JSON"):
        list(collection_of(folder).records())


def _with_broken(folder: Path) -> None:
    """Six pictures of one size more, one that is cut, one that is text, one that is too small, one that is not there."""
    for i in range(6):
        (folder / f"x{i}.png").write_bytes(_picture("a.png"))
    (folder / "cut.png").write_bytes(_picture("a.png")[:45])
    (folder / "text.jpg").write_text("no picture")
    (folder / "tiny.png").write_bytes(_picture("a.png", (4, 4)))
    rows = [{"file_name": name, "text": text} for name, text in {**CAPTIONS, "gone.png": "nothing"}.items()]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("first", ["png", "txt"])
def test_tars_whose_captions_lie_apart_from_their_pictures_are_refused(first, tmp_path):
    """As `tar cf x.tar *.png *.txt` packs them."""
    pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "000.tar", "w") as archive:
        for suffix in sorted(("png", "txt"), key=lambda suffix: suffix != first):
            for name, text in CAPTIONS.items():
                data = _picture(name) if suffix == "png" else text.encode()
                member = tarfile.TarInfo(f"{Path(name).stem}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"000\.tar: the files of .* lie apart.*pack it with tar --sort=name"):
        list(collection_of(tmp_path).records())


def test_check_counts_sizes_captions_and_what_is_broken(folder, tmp_path, capsys):
    _with_broken(folder)
    sheet = tmp_path / "sheet.jpg"
    assert cli.main(["data", "check", str(folder), "--side", "8", "--sheet", str(sheet)]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert (figures["pictures"], figures["broken"], figures["too_small"], figures["square"]) == (10, 3, 1, 1)
    assert figures["without_caption"] == 7 and figures["different_captions"] == 3
    assert figures["words"] == {"least": 3, "median": 3, "most": 3}
    assert figures["shorter_side"] == {"least": 4, "median": 10.0, "most": 10}
    assert all(f"{name}: " in err for name in ("cut.png", "text.jpg", "gone.png")) and "fewer than 100" in err
    assert Image.open(sheet, formats=["JPEG"]).width == 8 * 132


def test_the_middle_square_is_shrunk_by_area():
    picture = Image.fromarray(np.arange(24 * 8 * 3, dtype=np.uint8).reshape(8, 24, 3))
    small = fitted(picture, (4, 4))
    middle = np.asarray(picture)[:, 8:16].astype(float).reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(small - middle).max() <= 0.5 + 1e-6
    with pytest.raises(ValueError, match="24x8 is smaller than the 9 px"):
        fitted(picture, (9, 9))


def test_transparent_parts_are_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    (record,) = collection_of(tmp_path).records()
    assert picture_of(record).getpixel((0, 0)) == (255, 255, 255)


def test_preparing_goes_on_where_it_was_killed(folder, tmp_path, monkeypatch):
    _with_broken(folder)
    monkeypatch.setattr(prepared, "CHUNK", 2)
    whole = prepare(collection_of(folder), tmp_path / "a", side=8, held_out=0.3, say=lambda line: None)
    real, calls = prepared._write_chunk, []

    def killed(*args):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(args)
        real(*args)

    monkeypatch.setattr(prepared, "_write_chunk", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(collection_of(folder), tmp_path / "b", side=8, held_out=0.3)
    monkeypatch.setattr(prepared, "_write_chunk", real)
    opened = []
    monkeypatch.setattr(prepared, "picture_of", lambda record: opened.append(record.name) or picture_of(record))
    again = prepare(collection_of(folder), tmp_path / "b", side=8, held_out=0.3, say=lambda line: None)
    assert len(opened) < 13 and again.left_out == whole.left_out and len(again.left_out) == 4
    for one, other in ((whole.shown, again.shown), (whole.held_out, again.held_out)):
        assert one.captions == other.captions
        assert torch.equal(one.pictures(range(len(one))), other.pictures(range(len(other))))
    names = [record.name for record in collection_of(folder).records()]
    assert len(whole.shown) + len(whole.held_out) == 9 and 0 < sum(is_held_out(name, 0.3) for name in names) < 13
    opened.clear()
    prepare(collection_of(folder), tmp_path / "b", side=8, held_out=0.3, say=lambda line: None)
    assert not opened  # once is enough


def test_captions_are_encoded_into_files_beside_the_pictures(folder, tmp_path, models):
    from imagen_core import load_text_encoder

    _beside(folder)
    shown = prepare(collection_of(folder), tmp_path, side=8).shown
    encoder = load_text_encoder(models / "text_encoder")
    embeds = CaptionEmbeds(shown, encoder, "tiny").of([0], torch.tensor([False])).embeds[0]
    torch.testing.assert_close(embeds, encoder.encode(["a red square"]).embeds[0], atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="no picture of .* can be trained on"):
        prepare(collection_of(folder), tmp_path, side=64)
