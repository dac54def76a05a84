"""Do the text nodes find what people have, pad as the network asks, and leave the weights alone where they can?"""

import gc
import json
import shutil
import sys
import weakref
from pathlib import Path

import pytest
import torch
from pack import CORE, NODES

from imagen_host import runtime
from imagen_host.execution.engine import Engine
from imagen_host.registry import load_registry

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "core"))

from t5_files import make_folder, plain, write_gguf

LOAD, ENCODE = NODES["ImagenLoadTextEncoder"], NODES["ImagenTextEncode"]
READING = sys.modules[f"{CORE.__name__}.text.reading"]
AS_DEEPFLOYD = READING.AS_DEEPFLOYD
ARCHIVES = sys.modules[f"{CORE.__name__}.text.archives"]


@pytest.fixture
def models(tmp_path):
    """A user's own model folder, in use by the host: a T5 folder, single files with one tokenizer, other things."""
    path = tmp_path / "models"
    folder = make_folder(path / "tiny-t5", width=32)
    plain(folder, path / "t5xxl_fp16.safetensors", torch.float16)
    write_gguf(folder, path / "t5-Q8_0.gguf", "Q8_0")
    shutil.copy(folder / "tokenizer.json", path / "t5xxl_fp16.tokenizer.json")
    (path / "t5_broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (path / "clip_l.safetensors").write_bytes(b"broken, and not called as a T5 is")
    (path / "notes.gguf").write_bytes(b"GGUF of something else")
    with runtime.use(runtime.Runtime(model_directories=[path])):
        yield path


def listed():
    return LOAD.INPUT_TYPES()["required"]["text_encoder"][0]


def test_folders_and_single_files_are_listed(models):
    names = listed()
    assert {"tiny-t5", "t5xxl_fp16.safetensors", "t5-Q8_0.gguf", "t5_broken.safetensors"} < set(names)
    assert "imagen-mini/things_text_encoder" in names
    assert not {"clip_l.safetensors", "notes.gguf", "tiny-t5/model.safetensors"} & set(names)
    assert not any("base64" in name or "classifier" in name for name in names)
    assert LOAD.INPUT_TYPES()["required"]["text_encoder"][1]["default"] == "imagen-mini/things_text_encoder"


@pytest.mark.parametrize("name", ["tiny-t5", "t5xxl_fp16.safetensors", "t5-Q8_0.gguf"])
def test_all_kinds_load_with_a_tokenizer_from_the_models_folders(models, name):
    encoder = LOAD().load(name)[0]
    exact = LOAD().load("tiny-t5")[0].encode(["a red cube"])
    found = encoder.encode(["a red cube"])
    assert torch.equal(found.mask, exact.mask)
    assert torch.nn.functional.cosine_similarity(found.embeds, exact.embeds, dim=-1).min() > 0.999
    assert LOAD.IS_CHANGED(name) == LOAD.IS_CHANGED(name)


def test_a_broken_file_says_so_when_loaded(models):
    with pytest.raises(ValueError, match=r"t5_broken.*truncated"):
        LOAD().load("t5_broken.safetensors")


def test_padding_widget(models):
    encoder = LOAD().load("tiny-t5")[0]
    for padding, tokens in (("none", 4), ("77", 77)):
        text = ENCODE().encode(encoder, "a red cube", "", padding)[0]
        assert text.text.embeds.shape == (1, tokens, 32)
        assert text.as_read(AS_DEEPFLOYD) is text, "what somebody chose stays"
    assert text.negative.embeds.shape == (1, 77, 32)
    with pytest.raises(ValueError, match="padding is 'wide'"):
        ENCODE().encode(encoder, "a red cube", "", "wide")


def test_a_prompt_is_read_as_the_stage_that_asks_was_trained(models):
    encoder = LOAD().load("tiny-t5")[0]
    typed = ENCODE().encode(encoder, "A red CUBE ", "")[0]  # a saved graph without the widgets
    plain, deepfloyd = typed.as_read(READING.TextReading()), typed.as_read(AS_DEEPFLOYD)
    expected = (ENCODE().encode(encoder, "A red CUBE ", "", padding)[0] for padding in ("none", "77"))
    for found, known in zip((plain, deepfloyd), expected, strict=True):
        assert torch.equal(found.text.embeds, known.text.embeds)
    assert plain.negative is None and deepfloyd.negative.embeds.shape == (1, 77, 32)
    assert typed.as_read(AS_DEEPFLOYD) is deepfloyd, "once"
    typed, known = ENCODE().encode(encoder, "A red CUBE ", "")[0], weakref.ref(encoder)
    typed.as_read(AS_DEEPFLOYD)
    del encoder
    gc.collect()
    assert known() is None, "what has been read needs no encoder"
    assert torch.equal(typed.as_read(READING.TextReading()).text.embeds, plain.text.embeds), "opened again"


def test_another_seed_tomorrow_reads_no_weight(models, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEN_CACHE", str(tmp_path / "cache"))
    choices = {"weights": "disk", "prompt_cache": "on"}
    first = ENCODE().encode(LOAD().load("tiny-t5", **choices)[0], "A red cube", "", "77")[0]

    def read(self, name):
        raise AssertionError(f"{name} was read")

    monkeypatch.setattr(ARCHIVES.SafetensorsArchive, "read", read)
    again = ENCODE().encode(LOAD().load("tiny-t5", **choices)[0], "a red cube", "", "77")[0]
    assert torch.equal(again.text.embeds, first.text.embeds)
    assert torch.equal(again.negative.embeds, first.negative.embeds)
    with pytest.raises(AssertionError, match="was read"):
        ENCODE().encode(LOAD().load("tiny-t5", **choices)[0], "another", "", "77")


def test_a_long_encoding_reports_its_layers_and_can_be_stopped(models, monkeypatch):
    monkeypatch.setattr(
        sys.modules[f"{CORE.__name__}.text.loading"], "LARGE", 1000
    )  # bytes: the tiny one counts as large
    monkeypatch.setenv("IMAGEN_CACHE", "0")
    seen = []
    host = runtime.Runtime(
        model_directories=[models], on_progress=lambda node, value, total, _: seen.append((value, total))
    )
    with runtime.use(host):
        encoder = LOAD().load("tiny-t5")[0]
        encoder.encode(["a red cube"])
        assert seen == [(1, 2), (2, 2)]
        host.interrupt()
        with pytest.raises(runtime.Interrupted):
            encoder.encode(["a sphere"])
        assert encoder.encode(["a sphere"]).embeds.shape == (1, 3, 32)


@pytest.mark.parametrize("keep_results", [False, True])
def test_the_encoder_is_gone_before_sampling_starts(tmp_path, keep_results):
    """A headless run drops a result once every node that reads it has run: T5's memory is free for the U-Net."""
    path = runtime.PACK_ROOT / "workflows" / "api" / "text_to_image_64.json"
    prompt = json.loads(path.read_text(encoding="utf-8"))
    sampler = next(node for node, entry in prompt.items() if entry["class_type"] == "ImagenBaseSample64")
    save = next(node for node, entry in prompt.items() if entry["class_type"] == "SaveImage")
    prompt[sampler]["inputs"] |= {"steps": 1, "batch_size": 1}
    alive = []

    def watch(kind, data):
        if kind == "progress" and data["node"] == sampler:
            gc.collect()
            alive.append(sum(type(thing) is CORE.T5TextEncoder for thing in gc.get_objects()))

    gc.collect()
    before = sum(type(thing) is CORE.T5TextEncoder for thing in gc.get_objects())
    host = runtime.Runtime(output_directory=tmp_path, temp_directory=tmp_path)
    result = Engine(load_registry(), host, on_event=watch, keep_results=keep_results).run(prompt, [save])
    assert result.status == "success", result.failure
    assert alive and max(alive) == before + keep_results  # an editor's host keeps it for the next prompt
