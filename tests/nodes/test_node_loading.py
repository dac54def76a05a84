"""Do the loader nodes list what can be loaded, and say what is wrong with what cannot?"""

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pack import NODES

from imagen_host import runtime

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import save_folder, save_single, tiny_unet

SHIPPED = runtime.PACK_ROOT / "models" / "imagen-mini"
UNET = NODES["ImagenLoadUNet"]


@pytest.fixture
def folder(tmp_path):
    """A user's own model folder, in use by the host."""
    with runtime.use(runtime.Runtime(model_directories=[tmp_path])):
        yield tmp_path


def names():
    return UNET.INPUT_TYPES()["required"]["checkpoint"][0]


def test_the_shipped_stages_are_listed_and_what_is_no_stage_is_not(folder):
    listed = names()
    assert {f"imagen-mini/{stage}.safetensors" for stage in ("things64", "sr256", "sr1024")} <= set(listed)
    assert not any("classifier" in name or "text_encoder" in name for name in listed)


def test_what_0_1_shipped_is_found_as_its_successor_and_is_not_shown(folder):
    """A host asks whether a graph's value is in the list that it was given."""
    listed, readers = names(), NODES["ImagenLoadTextEncoder"].INPUT_TYPES()["required"]["text_encoder"][0]
    assert "imagen-mini/base64.safetensors" in listed and "imagen-mini/base64.safetensors" not in list(listed)
    assert "imagen-mini/text_encoder" in readers and "imagen-mini/text_encoder" not in [*readers]
    assert "imagen-mini/base65.safetensors" not in listed and None not in listed and 3 not in readers
    assert json.loads(json.dumps(listed)) == [*listed]
    old, new = (f"imagen-mini/{name}.safetensors" for name in ("base64", "things64"))
    assert UNET.IS_CHANGED(old) == UNET.IS_CHANGED(new)
    assert UNET().load(old)[0].spec.training == UNET().load(new)[0].spec.training
    shutil.copytree(SHIPPED, folder / "imagen-mini", ignore=lambda *_: ["clip", "things_text_encoder"])
    shutil.copy(SHIPPED / "sr256.safetensors", folder / "imagen-mini" / "base64.safetensors")
    assert UNET().load(old)[0].spec.stage == "sr256", "a file of that name is what is meant"


def test_a_users_own_checkpoint_is_found_and_its_change_noticed(folder):
    shutil.copy(SHIPPED / "sr256.safetensors", folder / "mine.safetensors")
    assert "mine.safetensors" in names()
    before = UNET.IS_CHANGED("mine.safetensors")
    assert UNET().load("mine.safetensors")[0].spec.stage == "sr256"
    shutil.copy(SHIPPED / "sr1024.safetensors", folder / "mine.safetensors")
    assert UNET.IS_CHANGED("mine.safetensors") != before


def test_another_base_under_a_change_is_noticed_and_other_files_beside_it_are_not(folder):
    for name in ("things64", "things64_inpaint", "controlnet", "sr256"):
        shutil.copy(SHIPPED / f"{name}.safetensors", folder)
    nodes = {"things64_inpaint.safetensors": UNET, "controlnet.safetensors": NODES["ImagenLoadControl"]}
    before = [node.IS_CHANGED(name) for name, node in nodes.items()]
    os.utime(folder / "sr256.safetensors", (1, 1))
    assert [node.IS_CHANGED(name) for name, node in nodes.items()] == before
    os.utime(folder / "things64.safetensors", (1, 1))
    for (name, node), was in zip(nodes.items(), before, strict=True):
        assert node.IS_CHANGED(name) != was
        (folder / "things64.safetensors").rename(folder / "away")
        assert node.IS_CHANGED(name), "a base that is missing is said when it is loaded"
        (folder / "away").rename(folder / "things64.safetensors")


def test_a_truncated_file_is_listed_and_says_so_when_loaded(folder):
    (folder / "cut.safetensors").write_bytes((SHIPPED / "sr256.safetensors").read_bytes()[:100_000])
    assert "cut.safetensors" in names()
    with pytest.raises(ValueError, match="truncated"):
        UNET().load("cut.safetensors")


def test_a_pickle_under_a_safe_name_is_refused(folder):
    torch.save({"a": 1}, folder / "bad.safetensors")
    assert "bad.safetensors" in names()
    with pytest.raises(ValueError, match="pickle"):
        UNET().load("bad.safetensors")


@pytest.mark.parametrize("name", ["gone.safetensors", "../outside.safetensors"])
def test_a_name_outside_the_folders_is_not_found(folder, name):
    (folder.parent / "outside.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="no model"):
        UNET().load(name)


@pytest.mark.parametrize(("units", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_what_was_trained_in_half_precision_runs_in_bfloat16_where_the_cpu_has_it(units, expected, folder, monkeypatch):
    save_folder(folder / "IF-II-L-v1.0", "sr256", tiny_unet("sr256"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units, raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert UNET().load("IF-II-L-v1.0")[0].dtype == expected
    assert UNET().load("IF-II-L-v1.0", dtype="float32")[0].dtype == torch.float32
    assert UNET().load("imagen-mini/sr256.safetensors")[0].dtype == torch.float32
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert UNET().load("IF-II-L-v1.0", dtype="bfloat16")[0].dtype == torch.bfloat16
    assert ["this CPU only imitates bfloat16" in str(warning.message) for warning in caught] == [True] * (not units)


def test_deepfloyd_folders_and_files_are_listed_once_and_loaded_as_asked(folder, tmp_path_factory):
    unet = tiny_unet("sr256")
    save_folder(folder / "IF-II-L-v1.0", "sr256", unet, shards=True)
    outside = save_single(tmp_path_factory.mktemp("elsewhere") / "stage.safetensors", unet.state_dict())
    (folder / "link.safetensors").symlink_to(outside)
    listed = [name for name in names() if not name.startswith("imagen-mini/")]
    assert listed == ["IF-II-L-v1.0", "link.safetensors"]
    for name in listed:
        stage = UNET().load(name, dtype="float32")[0]
        assert (stage.spec.stage, stage.dtype) == ("sr256", torch.float32)
        assert UNET().load(name, dtype="bfloat16")[0].dtype == torch.bfloat16
        assert UNET.IS_CHANGED(name) == UNET.IS_CHANGED(name, dtype="float16")
    before = UNET.IS_CHANGED("IF-II-L-v1.0")
    (folder / "IF-II-L-v1.0" / "scheduler" / "scheduler_config.json").write_text("{}")
    assert UNET.IS_CHANGED("IF-II-L-v1.0") != before


def test_the_shipped_text_encoder_reads_any_text_and_warns_where_it_cuts(folder):
    encoder = NODES["ImagenLoadTextEncoder"]().load("imagen-mini/things_text_encoder")[0]
    encode = NODES["ImagenTextEncode"]().encode
    for text in ("", "\N{GRINNING FACE} \u05e9\u05dc\u05d5\u05dd", "A RED SPHERE"):
        assert encode(encoder, text, "", "none")[0].text.embeds.isfinite().all()
    with pytest.warns(UserWarning, match="cut"):
        encode(encoder, "a red sphere " * 200, "", "none")
