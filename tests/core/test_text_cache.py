"""Does a prompt that was encoded once come from the disk later, without a weight being read, whatever happens there?"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_files import make_folder, plain

from imagen_core import encode_prompt
from imagen_core.text import loading
from imagen_core.text.cache import Encoding
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.prompt_files import PromptFiles, PromptKey, cache_directory
from imagen_host.cli import main


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "t5")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    directory = tmp_path / "cache"
    monkeypatch.setenv("IMAGEN_CACHE", str(directory))
    return directory


def opened(folder, **options):
    return load_text_encoder(folder, prompt_cache="on", keep="disk", **options)


def key(text, **changes):
    described = {"text": text, "encoder": "e", "precision": "float32 cpu", "max_length": 77, "pad_to": 77}
    return PromptKey(**{**described, **changes})


def encoding(value=1.0, length=77):
    return Encoding(embeds=torch.full((length, 8), value), tokens=min(4, length))


def test_a_known_prompt_reads_no_weight(folder, cache):
    first = encode_prompt(opened(folder), "A red cube ", pad_to=77)
    assert len(list(cache.glob("*.safetensors"))) == 2  # the prompt and the null prompt
    later = opened(folder)  # another process, another day
    for archive, _ in later.network.weights.places.values():
        archive.read = None  # any read of a weight would fail
    again = encode_prompt(later, "a red cube", pad_to=77)
    for ours, theirs in ((again.text, first.text), (again.negative, first.negative)):
        assert torch.equal(ours.embeds, theirs.embeds) and torch.equal(ours.mask, theirs.mask)
    with pytest.raises(TypeError):
        encode_prompt(later, "a blue sphere", pad_to=77)


def test_the_null_prompt_is_run_once_for_all_prompts(folder, cache):
    runs = []
    for text in ("a red cube", "a blue sphere", "two rings"):
        encoder = opened(folder, on_layer=lambda layer, total: None)
        network = encoder.network

        class Counting:
            config, device, dtype = network.config, network.device, network.dtype

            def __call__(self, batches, network=network):
                runs.append(len(batches))
                return network(batches)

        encoder.network = Counting()
        encode_prompt(encoder, text, pad_to=77)
        encode_prompt(encoder, text, pad_to=77)
    assert runs == [2, 1, 1]


def test_what_is_on_the_disk_equals_what_is_computed(folder, cache):
    plainly = load_text_encoder(folder).encode(["a red cube", "two rings"], pad_to=9)
    opened(folder).encode(["two rings"], pad_to=9)  # alone, and in other company
    mixed = opened(folder).encode(["a red cube", "two rings"], pad_to=9)
    assert torch.equal(mixed.embeds, plainly.embeds) and torch.equal(mixed.mask, plainly.mask)


def test_every_part_of_the_key_counts(folder, cache, tmp_path):
    opened(folder).encode(["a red cube"], pad_to=77)
    count = 1
    for encode in (
        lambda: opened(folder).encode(["a red cubes"], pad_to=77),
        lambda: opened(folder).encode(["a red cube"], pad_to=76),
        lambda: opened(folder).encode(["a red cube"]),
        lambda: opened(folder).encode(["a red cube"], max_length=9),
        lambda: opened(folder, dtype=torch.bfloat16).encode(["a red cube"], pad_to=77),
        lambda: opened(plain(folder, tmp_path / "b.safetensors", torch.float16), tokenizer=folder).encode(
            ["a red cube"], pad_to=77
        ),
    ):
        encode()
        count += 1
        assert len(list(cache.glob("*.safetensors"))) == count
    weights = load_file(folder / "model.safetensors")
    weights["encoder.final_layer_norm.weight"] += 1  # the same size, other numbers
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = opened(folder).encode(["a red cube"], pad_to=77)
    assert torch.equal(changed.embeds, load_text_encoder(folder).encode(["a red cube"], pad_to=77).embeds)
    before = len(list(cache.glob("*.safetensors")))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")  # another tokenizer, for all that can be known cheaply
    opened(folder).encode(["a red cube"], pad_to=77)
    assert len(list(cache.glob("*.safetensors"))) == before + 1


def test_off_by_default_for_small_encoders_and_by_wish(folder, cache, monkeypatch):
    load_text_encoder(folder, prompt_cache="auto").encode(["a"])
    load_text_encoder(folder, prompt_cache="off").encode(["a"])
    monkeypatch.setenv("IMAGEN_CACHE", "0")
    assert cache_directory() is None
    opened(folder).encode(["a"])
    assert not cache.exists()
    monkeypatch.setenv("IMAGEN_CACHE", str(cache))
    monkeypatch.setattr(loading, "LARGE", 1000)  # bytes: this encoder now counts as large
    load_text_encoder(folder, prompt_cache="auto").encode(["a"])
    assert len(list(cache.iterdir())) == 1
    with pytest.raises(ValueError, match="prompt_cache is 'yes'"):
        load_text_encoder(folder, prompt_cache="yes")


def test_the_place_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("IMAGEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_directory() == tmp_path / "xdg" / "imagen-nodes" / "prompts"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_directory() == Path.home() / "Library" / "Caches" / "imagen-nodes" / "prompts"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_directory() == tmp_path / "local" / "imagen-nodes" / "prompts"
    for wish in ("0", "off", "FALSE"):
        monkeypatch.setenv("IMAGEN_CACHE", wish)
        assert cache_directory() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b"\xff" * 500),
        lambda path: save_file({"other": torch.zeros(2)}, path),
        lambda path: save_file({"embeds": torch.zeros(77, 8)}, path, metadata={"tokens": "many"}),
        lambda path: save_file(load_file(path), path, metadata={"tokens": "4", "key": "another prompt"}),
        lambda path: save_file({"embeds": torch.full((77, 8), torch.nan)}, path, metadata={"tokens": "4"}),
    ],
)
def test_a_damaged_entry_is_a_miss_and_goes(tmp_path, damage):
    files = PromptFiles(tmp_path)
    files.put(key("a"), encoding())
    (path,) = tmp_path.glob("*.safetensors")
    damage(path)
    assert files.get(key("a")) is None and not path.exists()
    files.put(key("a"), encoding(2.0))
    assert files.get(key("a")).embeds.mean() == 2


def test_a_flipped_bit_anywhere_is_a_miss(tmp_path):
    """Every byte of a small file, its header and numbers alike: what a failing disk gives back is never drawn from."""
    files = PromptFiles(tmp_path)
    wanted, kept = key("a red ball"), Encoding(embeds=torch.randn(3, 2), tokens=2)
    files.put(wanted, kept)
    (path,) = tmp_path.glob("*.safetensors")
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert files.get(wanted) is None and not path.exists(), data[place - 20 : place + 20]
    path.write_bytes(data)
    assert torch.equal(files.get(wanted).embeds, kept.embeds)


def test_a_file_from_before_there_were_checksums_is_encoded_anew(tmp_path):
    files, wanted = PromptFiles(tmp_path), key("a red sphere")
    stated = {"tokens": "5", "pad_to": str(wanted.pad_to), "key": wanted.digest(), "text": "a red sphere"}
    path = tmp_path / f"{wanted.digest()}.safetensors"
    save_file({"embeds": torch.randn(77, 4)}, path, metadata=stated)
    assert files.get(wanted) is None and not path.exists()


def test_least_recently_used_entries_go_beyond_the_limit(tmp_path):
    one = 77 * 8 * 4 + 400
    files = PromptFiles(tmp_path, limit_bytes=3 * one)
    for i, text in enumerate("abc"):
        files.put(key(text), encoding())
        os.utime(files._path(key(text)), (1000 + i, 1000 + i))
    assert files.get(key("a")) is not None  # now the most recently used
    files.put(key("d"), encoding())
    assert [files.get(key(text)) is not None for text in "abcd"] == [True, False, True, True]
    assert len(files.entries()) == 3
    (tmp_path / ".imagen-0123456789ab.part").mkdir()  # what a crash leaves
    (tmp_path / "note.txt").write_text("not ours")
    assert files.clear() == 4 and [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path, folder, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IMAGEN_CACHE", str(tmp_path / "file" / "below"))
    assert opened(folder).encode(["a red cube"], pad_to=77).embeds.shape == (1, 77, 32)


def test_odd_texts_are_kept(tmp_path, folder, cache):
    texts = ["\ud83d lone", "\x00", "🦊" * 50, "a/../b", "", "x" * 5000]
    with pytest.warns(UserWarning):
        first = opened(folder).encode(texts, pad_to=20)
        again = opened(folder).encode(texts, pad_to=20)
    assert torch.equal(first.embeds, again.embeds) and len(PromptFiles(cache).entries()) == len(texts)


def test_many_writers_and_a_clearer_at_once(tmp_path):
    files = PromptFiles(tmp_path, limit_bytes=12 * (77 * 8 * 4 + 400))
    errors = []

    def work(worker):
        try:
            for i in range(60):
                value = float(i % 5 + 1)
                files.put(key(str(value)), encoding(value))
                found = files.get(key(str(value)))
                assert found is None or (found.embeds == value).all()
                if worker == 0 and i % 20 == 19:
                    files.clear()
                files.entries()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors and not list(tmp_path.glob("*.tmp"))


def test_command_lists_and_clears(tmp_path, monkeypatch, capsys):
    files = PromptFiles(tmp_path / "p")
    files.put(key("a red cube\nat sunset"), encoding())
    files.put(key(""), encoding())
    monkeypatch.setenv("IMAGEN_CACHE", str(tmp_path / "p"))

    def imagen(*arguments):
        code = main(["cache", *arguments])
        return code, "".join(capsys.readouterr())

    assert imagen("path") == (0, f"{tmp_path / 'p'}\n")
    shown = imagen("list")[1]
    assert "a red cube at sunset" in shown and "(the empty prompt)" in shown and "2 encoded prompts" in shown
    described = [json.loads(line) for line in imagen("list", "--json")[1].splitlines()]
    assert {entry["text"] for entry in described} == {"a red cube\nat sunset", ""}
    assert imagen("clear")[1].startswith("removed 2 files")
    assert "0 encoded prompts" in imagen()[1]
    monkeypatch.setenv("IMAGEN_CACHE", "0")
    code, text = imagen("list")
    assert code == 2 and "turned off" in text
