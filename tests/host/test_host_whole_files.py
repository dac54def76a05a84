"""Is a file whole and on the disk before it has its name, and is no file ever lost to another one?"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from imagen_host import runtime, whole_files
from imagen_host.pictures import pictures


def no_links(*names, **more):
    raise OSError(1, "Operation not permitted")


@pytest.fixture(params=["links", "no links"])
def links(request, monkeypatch):
    """A file system with hard links, and one without."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_links)


def save_many(folder, writer, count):
    """Save `count` pictures one by one under a shared prefix; returns file name and text of each."""
    image = torch.zeros(1, 8, 8, 3)
    texts = [f"{writer}-{number}" for number in range(count)]
    return [(pictures.save(image, "same", str(folder), {"prompt": text})[0]["filename"], text) for text in texts]


def test_writers_at_once_lose_no_picture(links, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        saved = [item for part in pool.map(lambda writer: save_many(tmp_path, writer, 40), range(4)) for item in part]
    assert len(dict(saved)) == 160 == len(list(tmp_path.iterdir()))
    assert {name: Image.open(tmp_path / name).text["prompt"] for name, _ in saved} == dict(saved)


def test_a_name_that_is_taken_is_not_taken_again(links, tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    assert not whole_files.claim(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert not whole_files.claim(tmp_path / "new", tmp_path / "dangling")
    assert whole_files.claim(tmp_path / "new", tmp_path / "free") and (tmp_path / "free").read_bytes() == b"new"


def test_a_reserved_name_is_given_back_when_the_file_cannot_be_put_there(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileNotFoundError):
        whole_files.claim(tmp_path / "none", tmp_path / "name")
    assert list(tmp_path.iterdir()) == []


def test_write_replaces_or_refuses(links, tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    whole_files.write(path, b"one", replace=False)
    with pytest.raises(FileExistsError):
        whole_files.write(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    whole_files.write(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_is(links, tmp_path, monkeypatch):
    """Seen in the order of the system's calls: sync of the temporary file, then the name."""
    calls = []
    for name in ("fsync", "link", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    whole_files.write(tmp_path / "a", b"x")
    save_many(tmp_path, "w", 1)
    naming = [number for number, name in enumerate(calls) if name != "fsync"]
    assert len(naming) >= 2 and {calls[number - 1] for number in naming} == {"fsync"}
    assert calls[-1] == "fsync"  # the folder's


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_files.drafts(tmp_path) as folder:
        (folder / "picture").write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def counter(prefix, folder):
    return runtime.get_save_image_path(prefix, str(folder))[2]


def test_counters_go_on_behind_what_is_there(tmp_path):
    for name in ("a_00007_.png", "a_x_.png", "a_00009", f"a_{'9' * 150}_.png", "a_٣_.png", "b3_00041_.png"):
        (tmp_path / name).write_text("")
    assert counter("a", tmp_path) == 8
    assert counter("b%batch_num%", tmp_path) == 42  # found, not tried one after the other
    assert counter("c", tmp_path) == 1


def test_a_batch_with_its_numbers_in_the_name(tmp_path):
    for _ in range(2):
        pictures.save(torch.zeros(2, 8, 8, 3), "n%batch_num%", str(tmp_path), {})
    names = sorted(path.name for path in Path(tmp_path).iterdir())
    assert names == ["n0_00001_.png", "n0_00003_.png", "n1_00002_.png", "n1_00004_.png"]
