"""Is every way in which people keep a DeepFloyd IF stage read alike, and every bad one refused by name?"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import (
    config_yml,
    original_weights,
    save_folder,
    save_single,
    text_states,
    tiny_unet,
    write_json,
)

from imagen_core import (
    Signals,
    TextEmbeds,
    convert_weights,
    find_stages,
    is_stage_checkpoint,
    load_stage,
    read_spec,
    save_checkpoint,
    trained_in_half,
)

STAGES = ("base64", "sr256")
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def theirs():
    return {stage: tiny_unet(stage) for stage in STAGES}


@pytest.fixture(scope="module")
def published(theirs, tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    return {stage: save_folder(root / stage, stage, unet) for stage, unet in theirs.items()}


@pytest.fixture
def copied(published, tmp_path):
    """A folder of stage I that a test may damage."""
    return Path(shutil.copytree(published["base64"], tmp_path / "IF"))


def output(stage):
    """One forward pass of a loaded stage, in float32."""
    states = text_states(1)
    x_t, low_res = torch.randn(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(stage.dtype)
    text = stage.unet.encode_text(TextEmbeds(embeds=states, mask=torch.ones(1, 77, dtype=torch.bool)))
    picture = text + Signals(pixels=low_res, aug_level=torch.tensor([0.25]))
    with torch.inference_mode():
        return stage.unet(x_t, torch.tensor([700.0]), picture).float()


def keep(how: str, stage: str, theirs, folder: Path) -> Path:
    """Write `stage` in one of the ways that people keep it; returns what to load."""
    weights = original_weights(theirs) if "original" in how else theirs.state_dict()
    if how == "unet folder":
        return save_folder(folder, stage, theirs) / "unet"
    if how == "shards":
        return save_folder(folder, stage, theirs, shards=True)
    if how == "one of the shards":
        return next((save_folder(folder, stage, theirs, shards=True) / "unet").glob("*-00002-of-*.safetensors"))
    if how == "shards without index":
        (save_folder(folder, stage, theirs, shards=True) / "unet" / f"{Path(WEIGHTS).name}.index.json").unlink()
        return folder
    if how == "variant":
        return save_folder(folder, stage, theirs, variant="fp16")
    if how == "variant shards":
        return save_folder(folder, stage, theirs, variant="fp16", shards=True)
    if how == "diffusers bin":
        save_folder(folder, stage, theirs)
        (folder / WEIGHTS).unlink()
        torch.save(weights, (folder / WEIGHTS).with_suffix(".bin"))
        return folder
    if how == "single file, config beside":
        return save_folder(folder, stage, theirs) / WEIGHTS
    if how in ("single file, alone", "original file, alone"):
        return save_single(folder / "some name.safetensors", weights)
    (folder / "config.yml").write_text(config_yml(stage))
    if how == "original folder, bin":
        torch.save(weights, folder / "pytorch_model.bin")
        return folder
    if how == "original folder":
        save_single(folder / "pytorch_model.safetensors", weights)
        return folder
    assert how == "original bin"
    torch.save(weights, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


WAYS = [
    "unet folder",
    "shards",
    "one of the shards",
    "shards without index",
    "variant",
    "variant shards",
    "diffusers bin",
    "single file, config beside",
    "single file, alone",
    "original file, alone",
    "original folder",
    "original folder, bin",
    "original bin",
]


@pytest.mark.parametrize("stage", STAGES)
def test_every_way_of_keeping_a_stage_is_the_same_stage(theirs, published, stage, tmp_path):
    reference = load_stage(published[stage], expected_stage=stage)
    weights = reference.unet.state_dict()
    for how in WAYS:
        folder = tmp_path / how
        folder.mkdir()
        path = keep(how, stage, theirs[stage], folder)
        loaded = load_stage(path, expected_stage=stage)
        assert loaded.spec.stage == stage and read_spec(path) == loaded.spec, how
        assert loaded.spec.defaults == reference.spec.defaults, how
        assert loaded.unet.config.skip_divisor == reference.unet.config.skip_divisor, how
        assert loaded.unet.config.per_head_channels == 64, how
        found = loaded.unet.state_dict()
        assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights), how
        assert is_stage_checkpoint(path), how


def test_a_stage_knows_how_it_is_sampled(published):
    first, second = (read_spec(published[stage]) for stage in STAGES)
    for spec in (first, second):
        assert spec.prediction_type == "eps" and spec.learned_variance
        assert spec.schedule_config == {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000}
        assert spec.low_res_resize == "align_corners" and not spec.aug_zero_is_clean
    assert first.defaults == {
        "steps": 100,
        "sampler": "ddpm",
        "spacing": "smart100",
        "guidance_scale": 7.0,
        "percentile": 0.95,
        "threshold_maximum": 1.5,
    }
    assert second.defaults == {
        "steps": 50,
        "sampler": "ddpm",
        "spacing": "smart50",
        "guidance_scale": 4.0,
        "aug_level": 0.25,
        "percentile": 0.95,
        "threshold_maximum": 1.0,
    }


def test_the_scheduler_beside_it_is_believed(copied):
    path = copied / "scheduler" / "scheduler_config.json"
    settings = json.loads(path.read_text())
    write_json(path, settings | {"sample_max_value": 1.25, "dynamic_thresholding_ratio": 0.9})
    assert read_spec(copied).defaults["threshold_maximum"] == 1.25
    assert read_spec(copied / "unet").defaults["percentile"] == 0.9
    for value in (-1, float("nan"), "many", None, True):
        write_json(path, settings | {"sample_max_value": value})
        with pytest.raises(ValueError, match="sample_max_value is .*positive number"):
            read_spec(copied)
    write_json(path, settings | {"prediction_type": "flow"})
    with pytest.raises(ValueError, match="scheduler_config.json: prediction_type is 'flow'"):
        read_spec(copied)


def test_of_two_precisions_the_wanted_one_is_read(theirs, published, tmp_path):
    folder = Path(shutil.copytree(published["base64"], tmp_path / "IF"))
    half = {key: 2.0 * value.half() for key, value in theirs["base64"].state_dict().items()}
    save_file(half, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    full, halved = load_stage(folder), load_stage(folder, dtype=torch.float16)
    key = "stem.weight"
    torch.testing.assert_close(halved.unet.state_dict()[key], (2.0 * full.unet.state_dict()[key]).half())
    assert load_stage(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    (folder / WEIGHTS).unlink()
    only = load_stage(folder)
    assert only.dtype == torch.float32 and torch.equal(only.unet.stem.weight.half(), halved.unet.stem.weight)


def test_dtype_is_the_users(published):
    exact = output(load_stage(published["sr256"]))
    for dtype in (torch.float16, torch.bfloat16):
        stage = load_stage(published["sr256"], dtype=dtype)
        assert {p.dtype for p in stage.unet.parameters()} == {dtype} == {stage.dtype}
        assert (output(stage) - exact).abs().mean() < 0.1 * exact.abs().mean()
    assert stage.unet.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_converted_to_this_packs_own_format(published, tmp_path):
    for stage in STAGES:
        loaded = load_stage(published[stage])
        save_checkpoint(tmp_path / "own.safetensors", loaded.unet, spec=loaded.spec)
        assert read_spec(tmp_path / "own.safetensors") == loaded.spec
        own = load_stage(tmp_path / "own.safetensors", expected_stage=stage)
        assert torch.equal(output(own), output(loaded))
    assert trained_in_half(published["sr256"]) and not trained_in_half(tmp_path / "own.safetensors")


def test_a_name_means_nothing_and_a_strange_config_beside_a_file_neither(theirs, tmp_path):
    """Stage II called IF-I-XL, in a folder with stage I's config.json."""
    save_folder(tmp_path / "other", "base64", theirs["base64"])
    shutil.copy(tmp_path / "other" / "unet" / "config.json", tmp_path / "config.json")
    path = save_single(tmp_path / "IF-I-XL.safetensors", theirs["sr256"].state_dict())
    assert read_spec(path).stage == "sr256" == load_stage(path).spec.stage
    (tmp_path / "config.json").write_text("{not json")
    assert read_spec(path).stage == "sr256"


@pytest.mark.parametrize("dropped", ["block_out_channels", "layers_per_block", "attention_head_dim", "_class_name"])
def test_settings_that_lack_a_line_are_made_up_from_the_shapes(copied, dropped):
    path = copied / "unet" / "config.json"
    settings = json.loads(path.read_text())
    expected = load_stage(copied).unet.config
    del settings[dropped]
    write_json(path, settings)
    found = load_stage(copied).unet.config
    assert (found.channels, found.num_res_blocks, found.embed_dim) == (
        expected.channels,
        expected.num_res_blocks,
        expected.embed_dim,
    )
    path.unlink()
    assert load_stage(copied).unet.config.channels == expected.channels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "silu"}, "act_fn is 'silu'.*'gelu'"),
        ({"cross_attention_norm": None}, "cross_attention_norm is None"),
        ({"addition_embed_type": "image"}, "addition_embed_type"),
        ({"class_embed_type": "projection"}, "class_embed_type"),
        ({"resnet_skip_time_act": True}, "resnet_skip_time_act"),
        ({"mid_block_scale_factor": 2}, "mid_block_scale_factor"),
        ({"up_block_types": ["ResnetUpsampleBlock2D"] * 4}, "up_block_types"),
        ({"down_block_types": ["CrossAttnDownBlock2D"] * 4}, "CrossAttnDownBlock2D"),
        ({"block_out_channels": [32, 64, 128, 256]}, "has shape.*its settings ask for"),
        ({"layers_per_block": 3}, "lacks .*first 'down_blocks.0.resnets.2"),
        ({"layers_per_block": [2, 2]}, "num_res_blocks has 2 entries"),
        ({"attention_head_dim": [64, 32, 64, 64]}, "attention_head_dim"),
        ({"attention_head_dim": 48}, "64 channels attend, no multiple of per_head_channels=48"),
        ({"block_out_channels": "many"}, "down again|download it again"),
        ({"in_channels": 7}, "reads 7 channels"),
    ],
)
def test_settings_of_another_network_are_named(copied, change, message):
    path = copied / "unet" / "config.json"
    write_json(path, json.loads(path.read_text()) | change)
    with pytest.raises(ValueError, match=message):
        load_stage(copied)


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("mid_block.attentions.0.to_k.weight"), "lacks 1 weights.*mid_block.attentions.0.to_k.weight"),
        (lambda w: w.pop("conv_in.weight"), "conv_in.weight"),
        (lambda w: w.update({"conv_in.lora_A.weight": torch.zeros(2)}), "unexpected.*conv_in.lora_A.weight"),
        (
            lambda w: w.update({"down_blocks.1.resnets.0.norm1.weight": torch.zeros(7)}),
            r"down_blocks.1.resnets.0.norm1.weight.*\(7,\).*\(32,\)",
        ),
        (
            lambda w: w.update({"conv_out.bias": torch.zeros(6, dtype=torch.int8)}),
            "conv_out.bias.*I8.*quantised",
        ),
    ],
)
def test_damaged_weights_are_named(copied, alone, change, message):
    rewrite(copied, change)
    path = copied
    if alone:
        path = (copied / WEIGHTS).rename(copied / "mine.safetensors")
    with pytest.raises(ValueError, match=message):
        load_stage(path)


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_truncated_files_are_named(theirs, tmp_path, kind, share):
    path = tmp_path / f"diffusion_pytorch_model.{kind}"
    if kind == "bin":
        torch.save(theirs["base64"].state_dict(), path)
    else:
        save_single(path, theirs["base64"].state_dict())
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(int(size * share))
    for target in (path, tmp_path):
        with pytest.raises(ValueError, match=rf"diffusion_pytorch_model.{kind}.*(truncated|damaged)"):
            load_stage(target)
    assert kind == "bin" or is_stage_checkpoint(path)  # stays in the list, so that loading says this


def test_missing_shards_are_named(theirs, tmp_path):
    for with_index in (True, False):
        folder = save_folder(tmp_path / str(with_index), "base64", theirs["base64"], shards=True)
        shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
        assert len(shards) > 2
        shards[1].unlink()
        if not with_index:
            next((folder / "unet").glob("*.index.json")).unlink()
        for path in (folder, folder / "unet"):
            with pytest.raises(ValueError, match=f"lacks 1 of {len(shards)} files.*{shards[1].name}"):
                load_stage(path)
        with pytest.raises(ValueError, match=f"lacks 1 of {len(shards)} files.*{shards[1].name}"):
            load_stage(shards[0])


def test_a_damaged_index_is_named(theirs, tmp_path):
    folder = save_folder(tmp_path, "base64", theirs["base64"], shards=True)
    index = next((folder / "unet").glob("*.index.json"))
    for content in ("{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../../x.safetensors"}}'):
        index.write_text(content)
        with pytest.raises(ValueError, match=index.name):
            load_stage(folder)


def test_the_wrong_stage_in_the_wrong_place(published):
    with pytest.raises(ValueError, match="sr256 stage, and base64 is needed"):
        load_stage(published["sr256"], expected_stage="base64")
    with pytest.raises(ValueError, match="base64 stage, and sr256 is needed"):
        load_stage(published["base64"], expected_stage="sr256")


def test_what_is_no_stage(tmp_path):
    with pytest.raises(ValueError, match="holds no stage.*unet/"):
        load_stage(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_stage(tmp_path / "nothing.safetensors")
    t5 = {"shared.weight": torch.zeros(3), "encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(3)}
    sd = {"down_blocks.0.attentions.0.transformer_blocks.0.norm1.weight": torch.zeros(3)}
    for name, weights, word in (("t5", t5, "T5 text encoder"), ("sd", sd, "latent diffusion"), ("x", {}, "0 weights")):
        folder = tmp_path / name
        folder.mkdir()
        save_file(weights, folder / "diffusion_pytorch_model.safetensors")
        for path in (folder, folder / "diffusion_pytorch_model.safetensors"):
            with pytest.raises(ValueError, match=f"{word}.*takes a stage .*a DeepFloyd IF stage"):
                load_stage(path)
        assert not is_stage_checkpoint(folder) and not is_stage_checkpoint(next(folder.iterdir()))


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


def test_an_archive_that_holds_code_is_refused_and_the_way_out_said(theirs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save({**theirs["base64"].state_dict(), "x": Evil()}, path)
    with pytest.raises(ValueError, match="pytorch_model.bin holds more than weights.*safetensors"):
        load_stage(path)
    assert not (tmp_path / "evil-was-here").exists()
    torch.save({"state": 3}, path)
    with pytest.raises(ValueError, match="no plain table"):
        load_stage(path)
    torch.save(theirs["base64"].state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="too old to be mapped.*imagen convert pytorch_model.bin"):
        load_stage(path)


def test_the_conversion_that_the_message_tells_works(theirs, tmp_path):
    """`imagen convert` calls this; a file too old to be mapped is read by it."""
    mapped, old = tmp_path / "pytorch_model.bin", tmp_path / "old.bin"
    torch.save(original_weights(theirs["base64"]), mapped)
    torch.save(original_weights(theirs["base64"]), old, _use_new_zipfile_serialization=False)
    assert torch.equal(output(load_stage(convert_weights(old))), output(load_stage(mapped)))


def test_a_list_of_stages_shows_each_once(theirs, published, tmp_path):
    root = tmp_path / "models"
    save_folder(root / "deep" / "IF-I", "base64", theirs["base64"], shards=True)
    save_folder(root / "IF-II", "sr256", theirs["sr256"])
    original = root / "original"
    original.mkdir()
    (original / "config.yml").write_text(config_yml("base64"))
    torch.save({}, original / "pytorch_model.bin")
    save_single(root / "single.safetensors", theirs["base64"].state_dict())
    save_file({"shared.weight": torch.zeros(2)}, root / "t5.safetensors")
    (root / "damaged.safetensors").write_bytes(b"\x00" * 30)
    write_json(
        root / "sd" / "config.json", {"_class_name": "UNet2DConditionModel", "down_block_types": ["DownBlock2D"]}
    )
    names = [path.relative_to(root).as_posix() for path in find_stages(root)]
    assert names == ["IF-II", "damaged.safetensors", "deep/IF-I", "original", "single.safetensors"]
    assert list(find_stages(root / "absent")) == []


def test_a_folder_that_links_to_itself_is_no_endless_list(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list(find_stages(tmp_path)) == []
