"""Is every file that lies (settings, headers, weights) refused in one line that names it, before anything large is made?

The fuzzer at the end is seeded and bounded; what it may find is a ValueError or a FileNotFoundError, and nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from t5_files import make_folder, scaled_fp8

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import TINY, save_folder, tiny_unet, write_json

from imagen_core import (
    StageSpec,
    build_unet,
    find_stages,
    find_text_encoders,
    inspect_checkpoint,
    load_stage,
    load_text_encoder,
    read_spec,
    save_checkpoint,
)
from imagen_core.unets import BaseUNetConfig, EfficientUNetConfig, UViTConfig, unet_config_to_dict

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
    stage="base64", unet_config=CONFIG, schedule_config={"name": "cosine", "shift": 0.0}, prediction_type="x_0"
)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A stage of this pack: its metadata and tensors."""
    path = tmp_path_factory.mktemp("own") / "stage.safetensors"
    save_checkpoint(path, build_unet(CONFIG), spec=SPEC)
    with safe_open(path, framework="pt") as file:
        return file.metadata(), load_file(path)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("if") / "IF", "base64", tiny_unet("base64"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("t5"))


def refused(path, load, *words):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600, message
    assert all(word in message for word in words), message


def rewritten(own, path, metadata=(), tensors=()):
    facts, weights = own
    save_file({**weights, **dict(tensors)}, path, metadata={**facts, **dict(metadata)})
    return path


LIES = [
    ("channels", 10**9),
    ("channels", 10**30),
    ("channels", -8),
    ("channels", 0),
    ("channels", 7.5),
    ("channels", True),
    ("channels", "wide"),
    ("channels", [[8]]),
    ("channels", None),
    ("channel_mult", [1] * 10_000),
    ("channel_mult", [1e300, 1]),
    ("channel_mult", [float("nan"), 1]),
    ("channel_mult", [float("inf"), 1]),
    ("channel_mult", []),
    ("num_res_blocks", 10**6),
    ("num_res_blocks", [10**6, 1]),
    ("num_res_blocks", -1),
    ("per_head_channels", 0),
    ("per_head_channels", 10**9),
    ("text_embed_dim", 10**9),
    ("time_embed_dim", -1),
    ("image_size", 10**12),
    ("patch_size", 0),
    ("patch_size", 10**7),
    ("pooling_queries", 10**9),
    ("out_channels", 10**9),
]


@pytest.mark.parametrize(("setting", "value"), LIES, ids=str)
def test_settings_of_this_packs_own_that_lie(own, tmp_path, setting, value):
    network = unet_config_to_dict(CONFIG) | {setting: value}
    path = rewritten(own, tmp_path / "lie.safetensors", {"unet": json.dumps(network)})
    refused(path, load_stage, str(path))


@pytest.mark.parametrize(("setting", "value"), [lie for lie in LIES if lie[1] in (10**9, 10**6, [10**6, 1])], ids=str)
def test_the_setting_that_is_too_large_is_named(own, tmp_path, setting, value):
    network = unet_config_to_dict(CONFIG) | {setting: value}
    path = rewritten(own, tmp_path / "lie.safetensors", {"unet": json.dumps(network)})
    refused(path, read_spec, str(path), setting)


@pytest.mark.parametrize(
    ("config", "setting", "value"),
    [
        (EfficientUNetConfig(), "num_res_blocks", [10**6] * 4),
        (EfficientUNetConfig(), "num_heads", 10**9),
        (UViTConfig(), "depth", 10**6),
        (UViTConfig(), "mlp_ratio", 1e9),
        (UViTConfig(), "fine_blocks", 10**6),
    ],
)
def test_settings_of_the_other_networks_that_lie(own, tmp_path, config, setting, value):
    network = unet_config_to_dict(config) | {setting: value}
    path = rewritten(own, tmp_path / "lie.safetensors", {"unet": json.dumps(network)})
    refused(path, read_spec, str(path), setting)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"schedule": '{"name": "cosine", "shift": "high"}'}, ("shift",)),
        ({"schedule": '{"name": "cosine", "shift": NaN}'}, ("shift",)),
        ({"schedule": '{"name": "cosine", "logsnr_max": 1e400}'}, ("logsnr_max",)),
        ({"schedule": '{"name": "discrete", "num_timesteps": 1000000000}'}, ("num_timesteps", "1000000000")),
        ({"schedule": '{"name": ["cosine"]}'}, ("schedule",)),
        ({"schedule": "[" * 50_000}, ("schedule", "nested too deep")),
        ({"unet": '{"a":' * 50_000}, ("unet", "nested too deep")),
        ({"unet": '{"kind": ["base"]}'}, ("kind",)),
        ({"defaults": '{"percentile": "high"}'}, ("percentile", "'high'")),
        ({"defaults": '{"steps": NaN}'}, ("steps",)),
        ({"defaults": '{"thresholding": ["static"]}'}, ("thresholding",)),
        ({"format_version": "9" * 6000}, ("format_version", "update")),
        ({"format_version": "²"}, ("format_version",)),
        ({"learned_variance": "true"}, ("learned_variance", "out_channels is 3")),
        ({"stage": "x" * 10_000}, ("stage",)),
    ],
)
def test_metadata_that_lies(own, tmp_path, metadata, words):
    path = rewritten(own, tmp_path / "lie.safetensors", metadata)
    refused(path, load_stage, str(path), *words)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"layers_per_block": 10**6}, "num_res_blocks"),
        ({"layers_per_block": True}, "num_res_blocks"),
        ({"block_out_channels": [32 * 10**9, 64, 128, 192]}, "channels"),
        (
            {"block_out_channels": [32] * 10_000, "down_block_types": ["ResnetDownsampleBlock2D"] * 10_000},
            "up_block_types",
        ),
        ({"block_out_channels": [-32, 64, 128, 192]}, "positive"),
        ({"block_out_channels": [32.0, 64, 128, 192]}, "channels"),
        ({"block_out_channels": [[32], 64, 128, 192]}, ""),
        ({"block_out_channels": {"a": 1}}, ""),
        ({"down_block_types": [["a"]] * 4}, ""),
        ({"attention_head_dim": 10**9}, "per_head_channels"),
        ({"attention_head_dim": "64"}, "per_head_channels"),
        ({"attention_head_dim": [[64]]}, ""),
        ({"encoder_hid_dim": 10**12}, "text_embed_dim"),
        ({"cross_attention_dim": -192}, ""),
        ({"cross_attention_dim": float("nan")}, ""),
        ({"addition_embed_type_num_heads": 0.5}, "pooling_heads"),
        ({"resnet_out_scale_factor": float("inf"), "mid_block_scale_factor": float("inf")}, "skip_divisor"),
        ({"resnet_out_scale_factor": "big"}, ""),
        ({"in_channels": 10**9}, "channels"),
        ({"in_channels": "three"}, ""),
        ({"out_channels": None}, "out"),
        ({"time_embedding_dim": 10**9}, "time_embed_dim"),
        ({"act_fn": ["gelu"]}, "act_fn"),
        ({"act_fn": {"a": {"b": []}}}, "act_fn"),
    ],
)
def test_a_config_json_that_lies(published, change, word):
    path = published / "unet" / "config.json"
    before = path.read_text()
    try:
        write_json(path, json.loads(before) | change)
        refused(published, load_stage, str(published), word)
    finally:
        path.write_text(before)


def test_weights_that_are_no_numbers(own, published, t5, tmp_path):
    for value in (float("nan"), float("inf"), float("-inf")):
        for key in ("stem.weight", "stem.bias", "time_embedding.in_layer.weight"):
            bad = own[1][key].clone()
            bad.view(-1)[0] = value
            path = rewritten(own, tmp_path / "bad.safetensors", tensors={key: bad})
            refused(path, load_stage, str(path), repr(key), "NaN or infinite")
    weights = load_file(published / "unet" / "diffusion_pytorch_model.safetensors")
    weights["mid_block.attentions.0.to_k.weight"][3, 3] = float("nan")
    save_file(weights, tmp_path / "if.safetensors")
    refused(tmp_path / "if.safetensors", load_stage, "if.safetensors", "mid_block.attentions.0.to_k.weight", "NaN")
    weights["mid_block.attentions.0.to_k.weight"][3, 3] = 1e6
    save_file(weights, tmp_path / "if.safetensors")
    refused(
        tmp_path / "if.safetensors", lambda file: load_stage(file, dtype=torch.float16), "as float16", "wider dtype"
    )
    weights = load_file(t5 / "model.safetensors")
    key = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
    weights[key][0, 0] = float("nan")
    save_file(weights, tmp_path / "t5.safetensors")
    for keep in ("memory", "disk"):
        encoder = load_text_encoder(tmp_path / "t5.safetensors", tokenizer=t5, keep=keep)
        refused(["a red cube"], encoder.encode, "t5.safetensors", repr(key), "NaN or infinite")
    scaled = scaled_fp8(t5, tmp_path / "scaled.safetensors", skip=key)
    refused(scaled, lambda file: load_text_encoder(file, tokenizer=t5), "scaled.safetensors", key, "no scale")


def header_of(entries, *, metadata=None, length=None, data=64) -> bytes:
    text = json.dumps(({"__metadata__": metadata} if metadata else {}) | entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + b"\0" * data


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
HEADERS = {
    "overlapping": header_of({"a": ENTRY, "b": ENTRY | {"data_offsets": [8, 24]}}, data=24),
    "a hole": header_of({"a": ENTRY, "b": ENTRY | {"data_offsets": [32, 48]}}, data=48),
    "past the end": header_of({"a": ENTRY | {"data_offsets": [0, 16_000], "shape": [4000]}}),
    "backwards": header_of({"a": ENTRY | {"data_offsets": [16, 0]}}, data=16),
    "a shape that lies": header_of({"a": ENTRY | {"shape": [5]}}, data=16),
    "a shape that overflows": header_of({"a": ENTRY | {"shape": [2**62, 2**62]}}, data=16),
    "a negative shape": header_of({"a": ENTRY | {"shape": [-4]}}, data=16),
    "an unknown type": header_of({"a": ENTRY | {"dtype": "F31"}}, data=16),
    "no shape": header_of({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, data=16),
    "a length that lies": header_of({"a": ENTRY}, length=2**63),
    "a length too short": header_of({"a": ENTRY}, length=5),
    "no length": b"{}",
    "nested": b"\xa0\x86\x01\0\0\0\0\0{" + b'"a":{' * 20_000,
    "metadata of numbers": header_of({"a": ENTRY}, metadata={"format": 3}, data=16),
    "no utf-8": (20).to_bytes(8, "little") + b'{"\xff\xfe": 1           ',
    "twice": b"\x70"
    + b"\0" * 7
    + (b'{"a":' + json.dumps(ENTRY).encode() + b',"a":' + json.dumps(ENTRY).encode()).ljust(0x6F)
    + b"}"
    + b"\0" * 16,
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies(name, t5, tmp_path):
    path = tmp_path / "t5 lie.safetensors"
    path.write_bytes(HEADERS[name])
    for load in (load_stage, read_spec, inspect_checkpoint, lambda file: load_text_encoder(file, tokenizer=t5)):
        refused(path, load, str(path))
    assert path in find_text_encoders(tmp_path)  # a name missing from a list says nothing
    list(find_stages(tmp_path))


@pytest.mark.parametrize("ending", ["bin", "pt", "pth", "ckpt", "safetensors"])
def test_pickles_are_refused_by_both_loaders(tmp_path, ending):
    path = tmp_path / f"t5.{ending}"
    for modern in (True, False):
        torch.save({"a": Path}, path, _use_new_zipfile_serialization=modern)
        refused(path, lambda file: load_text_encoder(file), str(path), "pickle")
        refused(path, load_stage, str(path), "safetensors" if modern and ending == "bin" else "convert")


# ---- a fuzzer ----

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, 2, 3, 10**9, -1, 2**31, 2**63, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.sampled_from(["gelu", "linear", "base", "text", "DDPMScheduler", "ResnetDownsampleBlock2D", "\ud800", "\0"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
FUZZED = settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def survives(*calls):
    for call in calls:
        try:
            call()
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error) or "Traceback" not in str(error)


def changed(base, data):
    """Some settings of `base` replaced by anything, one perhaps missing, one perhaps new."""
    keys = data.draw(st.lists(st.sampled_from(sorted(base)), min_size=1, max_size=3, unique=True))
    content = base | {key: data.draw(values) for key in keys}
    if data.draw(st.booleans()):
        content.pop(data.draw(st.sampled_from(sorted(base))))
    return content | data.draw(st.dictionaries(st.text(max_size=5), values, max_size=1))


@FUZZED
@given(data=st.data())
def test_fuzzed_settings_of_this_packs_own(own, tmp_path, data):
    kind = data.draw(st.sampled_from([CONFIG, EfficientUNetConfig(), UViTConfig()]))
    network = changed(unet_config_to_dict(kind), data)
    schedule = changed({"name": "discrete", "betas": "linear", "num_timesteps": 10, "zero_snr": False}, data)
    metadata = {
        "unet": json.dumps(network),
        "schedule": json.dumps(schedule),
        "defaults": json.dumps(data.draw(values)),
    }
    path = rewritten(own, tmp_path / "fuzzed.safetensors", metadata)
    survives(lambda: load_stage(path), lambda: inspect_checkpoint(path))


@FUZZED
@given(data=st.data())
def test_fuzzed_settings_of_deepfloyd(published, data):
    unet, scheduler = published / "unet" / "config.json", published / "scheduler" / "scheduler_config.json"
    before = unet.read_text(), scheduler.read_text()
    try:
        unet.write_text(json.dumps(changed({key: value for key, value in TINY["base64"].items()}, data)))
        if data.draw(st.booleans()):
            scheduler.write_text(json.dumps(changed(json.loads(before[1]), data)))
        survives(lambda: read_spec(published), lambda: load_stage(published))
    finally:
        unet.write_text(before[0])
        scheduler.write_text(before[1])


@FUZZED
@given(data=st.data())
def test_fuzzed_settings_of_a_text_encoder(t5, data):
    path = t5 / "config.json"
    before = path.read_text()
    known = json.loads(before)
    try:
        path.write_text(json.dumps(changed({key: known[key] for key in known if key != "model_type"}, data)))
        survives(lambda: load_text_encoder(t5).encode(["a red cube"]))
    finally:
        path.write_text(before)


entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(
            ["F32", "F16", "BF16", "I8", "U8", "F8_E4M3", "F8_E8M0", "F4", "C64", "BOOL", "F31", 3]
        ),
        "shape": st.lists(st.sampled_from([0, 1, 2, 4, -1, 2**31, 2**63, 1.5, "4"]), max_size=5) | scalars,
        "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16, 32, 64, -1, 2**63, 1.5]), max_size=3) | scalars,
    },
)
KEYS = st.sampled_from(
    [
        "add_embedding.pool.positional_embedding",
        "encoder_pooling.1.positional_embedding",
        "encoder.block.0.layer.0.SelfAttention.q.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.99999999999.layer.0.x",
        "shared.weight",
        "conv_in.weight",
        "output_blocks.999999999.0.x",
        "down_blocks.0.resnets.99999999.conv1.weight",
        "scaled_fp8",
        "x",
    ]
)


@FUZZED
@given(header=st.dictionaries(KEYS, entries | values, max_size=5), data=st.binary(max_size=64), cut=st.integers(0, 400))
def test_fuzzed_headers(t5, tmp_path, header, data, cut):
    path = tmp_path / "t5 fuzzed.safetensors"
    text = json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + data
    path.write_bytes(raw if cut > 200 else raw[: max(len(raw) - cut, 0)])
    survives(
        lambda: load_stage(path),
        lambda: load_text_encoder(path, tokenizer=t5),
        lambda: inspect_checkpoint(path),
        lambda: list(find_stages(tmp_path)),
        lambda: list(find_text_encoders(tmp_path)),
    )
