"""Does a stage come back from its file as it was, and is every bad file refused with its name and a way out?"""

from __future__ import annotations

import dataclasses
import json
import pickle
import tarfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from imagen_core import StageSpec, load_checkpoint, read_spec, save_checkpoint
from imagen_core.conditioning import TextEmbeds
from imagen_core.unets import BaseUNetConfig, DeepFloydUNetConfig, EfficientUNetConfig, build_unet

CONFIG = BaseUNetConfig(
    image_size=8,
    channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
    per_head_channels=8,
    text_embed_dim=12,
)
SPEC = StageSpec(
    stage="base64",
    unet_config=CONFIG,
    schedule_config={"name": "cosine", "shift": 0.0},
    prediction_type="x_0",
    learned_variance=False,
    defaults={"steps": 25, "guidance_scale": 3.0},
    training={"images": 1000, "note": "ünïcode"},
)


@pytest.fixture
def unet():
    torch.manual_seed(0)
    unet = build_unet(CONFIG)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return unet.eval().requires_grad_(False)


@pytest.fixture
def path(unet, tmp_path):
    path = tmp_path / "stage.safetensors"
    save_checkpoint(path, unet, spec=SPEC)
    return path


def draw(unet):
    text = unet.encode_text(TextEmbeds(embeds=torch.ones(1, 2, 12), mask=torch.ones(1, 2, dtype=torch.bool)))
    x_t = torch.linspace(-1, 1, 192).view(1, 3, 8, 8)
    return unet(x_t, torch.tensor([500.0]), text)


def test_round_trip(unet, path):
    loaded, spec = load_checkpoint(path, expected_stage="base64")
    assert spec == SPEC == read_spec(path)
    assert not loaded.training and all(p.device.type == "cpu" for p in loaded.parameters())
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), unet.state_dict().values(), strict=True))
    assert torch.equal(draw(loaded), draw(unet))
    assert loaded.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_round_trip_of_a_super_resolution_stage(tmp_path):
    config = EfficientUNetConfig(
        channels=(8, 8),
        num_res_blocks=(1, 1),
        strides=(1, 2),
        self_attention=(False, False),
        text_cross_attention=(False, False),
        text_embed_dim=None,
        predict_residual=True,
    )
    spec = dataclasses.replace(SPEC, stage="sr256", unet_config=config)
    save_checkpoint(tmp_path / "sr", build_unet(config), spec=spec)
    assert load_checkpoint(tmp_path / "sr")[1] == spec


def test_half_precision_file_loads_as_float32(unet, path, tmp_path):
    half = tmp_path / "half.safetensors"
    save_checkpoint(half, unet, spec=SPEC, dtype=torch.float16)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    loaded, _ = load_checkpoint(half)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(draw(loaded), draw(unet), atol=1e-2, rtol=1e-2)
    assert {p.dtype for p in load_checkpoint(path, dtype=torch.bfloat16)[0].parameters()} == {torch.bfloat16}


def test_weights_under_their_older_names_are_read(tmp_path):
    """Attention of DeepFloyd IF's networks, written by this pack's 0.1."""
    config = DeepFloydUNetConfig(
        channels=(32, 64),
        num_res_blocks=(1, 1),
        attention=(False, True),
        per_head_channels=32,
        text_embed_dim=32,
        text_width=32,
        pooling_heads=2,
    )
    unet, path = build_unet(config), tmp_path / "new.safetensors"
    save_checkpoint(path, unet, spec=dataclasses.replace(SPEC, unet_config=config, learned_variance=True))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    older = {"attention.query": "attention.qkv", "attention.text_keys_values": "attention.text_kv"}
    weights = load_file(path)
    for new, old in older.items():
        weights = {key.replace(new, old): value for key, value in weights.items()}
    assert not any("attention.query" in key for key in weights)
    save_file(weights, tmp_path / "old.safetensors", metadata=metadata)
    found = load_checkpoint(tmp_path / "old.safetensors")[0].state_dict()
    assert all(torch.equal(tensor, found[key]) for key, tensor in unet.state_dict().items())


def test_metadata_is_readable_by_anyone(path):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "imagen" and metadata["format_version"] == "1" and metadata["stage"] == "base64"
    assert json.loads(metadata["unet"])["kind"] == "base"
    assert json.loads(metadata["defaults"]) == {"steps": 25, "guidance_scale": 3.0}
    assert all(isinstance(value, str) for value in metadata.values())


def test_saving_leaves_the_old_file_or_the_new_one(unet, path):
    before = path.read_bytes()
    unserialisable = dataclasses.replace(SPEC, training={"when": object()})
    with pytest.raises(TypeError):
        save_checkpoint(path, unet, spec=unserialisable)
    assert path.read_bytes() == before
    save_checkpoint(path, unet, spec=SPEC, dtype=torch.float16)
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_loaded_weights_train(path):
    unet, _ = load_checkpoint(path)
    draw(unet).square().mean().backward()
    assert unet.stem.weight.grad is not None


def test_spec_must_match_the_network(unet, tmp_path):
    other = dataclasses.replace(SPEC, unet_config=dataclasses.replace(CONFIG, channels=16))
    with pytest.raises(ValueError, match=r"unet_config=unet\.config"):
        save_checkpoint(tmp_path / "x", unet, spec=other)
    assert not list(tmp_path.iterdir())


def refused(path, *words, error=ValueError, **options):
    for read in (lambda: load_checkpoint(path, **options), lambda: read_spec(path)):
        with pytest.raises(error) as caught:
            read()
        assert str(path) in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "none.safetensors", "check the name", error=FileNotFoundError)
    refused(tmp_path, "folder")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


def test_pickles_are_refused_unread_whatever_they_are_called(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"a": Bomb()}, path)
    refused(path, "pickle", "convert")
    torch.save({"a": Bomb()}, path, _use_new_zipfile_serialization=False)
    refused(path, "pickle")
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        refused(path, "pickle")
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "weights")
    refused(path, "pickle")


@pytest.mark.parametrize("length", [0, 1, 5, 100, 2000, -1])
def test_truncated_file(path, length):
    path.write_bytes(path.read_bytes()[:length])
    refused(path, "truncated", "again")


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_text_instead_of_weights(tmp_path, content):
    path = tmp_path / "page.safetensors"
    path.write_bytes(content)
    refused(path, "git lfs pull" if b"lfs" in content else "no .safetensors file")


def test_a_header_whose_length_looks_like_a_pickle_is_read(path):
    """A safetensors file starts with its header's length, whose bytes may be a pickle's 0x80 0x02."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    longer = length + (0x0280 - length) % 0x10000
    path.write_bytes(longer.to_bytes(8, "little") + raw[8 : 8 + length].ljust(longer) + raw[8 + length :])
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert load_checkpoint(path)[1] == SPEC


def test_another_stage(path):
    with pytest.raises(ValueError, match=r"base64 stage, and sr256 is needed"):
        load_checkpoint(path, expected_stage="sr256")


def test_weights_of_another_program(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
        refused(path, "first 'weight'", "Imagen Load U-Net takes a stage")


def altered(path, *, metadata=None, tensors=None, drop_metadata=()):
    """Rewrite the file with changes to its metadata and tensors (None drops a tensor)."""
    with safe_open(path, framework="pt") as file:
        facts = {**file.metadata(), **(metadata or {})}
    weights = {**load_file(path), **(tensors or {})}
    save_file(
        {key: value for key, value in weights.items() if value is not None},
        path,
        metadata={key: value for key, value in facts.items() if key not in drop_metadata},
    )
    return path


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"format_version": "3"}, ("'3'", "update")),
        ({"format_version": "new"}, ("'new'",)),
        ({"stage": "bass32"}, ("bass32", "base64")),
        ({"unet": "{"}, ("'unet'", "JSON")),
        ({"unet": "[]"}, ("'unet'", "dict")),
        ({"unet": '{"kind": "base", "colour": 1}'}, ("colour",)),
        ({"unet": '{"kind": "vae"}'}, ("vae",)),
        ({"prediction_type": "noise"}, ("noise", "eps")),
        ({"learned_variance": '"no"'}, ("learned_variance",)),
    ],
)
def test_bad_metadata_is_named(path, metadata, words):
    refused(altered(path, metadata=metadata), *words)


@pytest.mark.parametrize("key", ["stage", "unet", "schedule", "prediction_type", "training"])
def test_missing_metadata_is_named(path, key):
    refused(altered(path, drop_metadata=(key,)), repr(key))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"stem.bias": None}, ("lacks 1", "'stem.bias'")),
        ({"stem.extra": torch.zeros(1)}, ("unexpected 1", "'stem.extra'")),
        ({"stem.bias": torch.zeros(9)}, ("'stem.bias'", "(9,)", "(8,)")),
    ],
)
def test_wrong_weights_are_named(path, tensors, words):
    altered(path, tensors=tensors)
    with pytest.raises(ValueError) as caught:
        load_checkpoint(path)
    assert all(word in str(caught.value) for word in (*words, str(path), "again"))


def test_int8_is_half_of_float16_and_nearly_the_weights(tmp_path):
    torch.manual_seed(0)
    unet = build_unet(dataclasses.replace(CONFIG, channels=64))
    spec = dataclasses.replace(SPEC, unet_config=unet.config)
    sizes = {}
    for dtype in (torch.int8, torch.float16):
        save_checkpoint(tmp_path / f"{dtype}.safetensors", unet, spec=spec, dtype=dtype)
        sizes[dtype] = (tmp_path / f"{dtype}.safetensors").stat().st_size
    assert sizes[torch.int8] < 0.56 * sizes[torch.float16]
    loaded, found = load_checkpoint(tmp_path / "torch.int8.safetensors")
    assert found == spec
    for (name, was), now in zip(unet.state_dict().items(), loaded.state_dict().values(), strict=True):
        rows = was.flatten(1).abs().amax(1) if was.ndim > 1 else was.abs().max()
        error = (now - was).abs().flatten(1).amax(1) if was.ndim > 1 else (now - was).abs().max()
        assert (error <= rows / 253 + 1e-3 * rows).all(), name  # half a step of 127, and float16's own


def test_what_is_named_stays_in_float16_beside_int8(tmp_path):
    torch.manual_seed(0)
    unet = build_unet(dataclasses.replace(CONFIG, channels=64))
    path, spec = tmp_path / "stage.safetensors", dataclasses.replace(SPEC, unet_config=unet.config)
    large = [key for key, value in unet.state_dict().items() if value.ndim > 1 and value.numel() >= 4096]
    save_checkpoint(path, unet, spec=spec, dtype=torch.int8, in_float16=large[:1])
    kept = load_file(path)
    assert [kept[key].dtype for key in large] == [torch.float16] + [torch.int8] * (len(large) - 1)
    loaded = load_checkpoint(path)[0].state_dict()[large[0]]
    assert torch.equal(loaded, unet.state_dict()[large[0]].half().float())


def test_int8_whose_scales_do_not_fit_is_refused(tmp_path):
    torch.manual_seed(0)
    unet = build_unet(dataclasses.replace(CONFIG, channels=64))
    path = tmp_path / "stage.safetensors"
    save_checkpoint(path, unet, spec=dataclasses.replace(SPEC, unet_config=unet.config), dtype=torch.int8)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    scale = next(key for key in tensors if key.endswith("_scale"))
    save_file({**tensors, scale: tensors[scale][:-1].contiguous()}, path, metadata)
    with pytest.raises(ValueError, match="expected one number or one a row"):
        load_checkpoint(path)
    del tensors[scale]
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="stored as I8, a quantised form"):
        load_checkpoint(path)
