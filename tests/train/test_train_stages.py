"""Does every picture stage train, resume, export and load again? Tiny networks, real renders, real tiny T5."""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from imagen_core.losses import diffusion_loss, draw_times, loss_weight
from imagen_core.predictions import PREDICTIONS, prediction_of
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.flow import FlowSchedule
from imagen_core.stage import load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.unets import build_unet
from imagen_train import cli, data
from imagen_train.caption_files import CaptionEmbeds
from imagen_train.classifier import Classifier, save_classifier
from imagen_train.data import PictureCache, PictureKind, render_pictures
from imagen_train.metrics import bicubic, psnr
from imagen_train.options import TrainOptions
from imagen_train.plans import StagePlan, base64_plan, sr256_plan, sr1024_plan
from imagen_train.precision import autocast
from imagen_train.scenes.vocabulary import LAYOUTS
from imagen_train.sheets import grid
from imagen_train.stages import export_saved, start_network, train_stage
from imagen_train.tasks import BaseTask, shrink
from imagen_train.teaching import Teaching
from imagen_train.trainables import TRAINABLES

TINY_KINDS = [
    PictureKind(name="base64", side=64, chunk=4),
    PictureKind(name="base64_held_out", side=64, chunk=4, held_out=True),
    PictureKind(name="full256", side=64, chunk=2),
    PictureKind(name="full256_held_out", side=64, chunk=2, held_out=True),
    PictureKind(name="textures256", side=64, chunk=4, textures=True),
    PictureKind(name="window1024", side=256, window=64, chunk=2),
    PictureKind(name="window1024_held_out", side=256, window=64, chunk=2, held_out=True),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A cache of tiny sets of pictures, and a random text encoder 32 wide."""
    from imagen_train.text_encoder import TextModel, TextModelConfig, export_encoder

    root = tmp_path_factory.mktemp("training")
    for kind in TINY_KINDS:
        render_pictures(kind, 4, root / "cache")
    torch.manual_seed(0)
    config = TextModelConfig(d_model=32, layers=1, heads=2, d_kv=16, d_ff=32)
    export_encoder(TextModel(config), config, root / "models" / "text_encoder")
    return root


@pytest.fixture(autouse=True)
def _tiny_kinds(monkeypatch):
    for kind in TINY_KINDS:
        monkeypatch.setitem(data.KINDS, kind.name, kind)


TINY_BASE = {
    "channels": 16,
    "width": 32,
    "depth": 3,
    "per_head_channels": 16,
    "time_embed_dim": 32,
    "pooling_queries": 2,
}


def _plan(stage: str) -> StagePlan:
    if stage == "base64":
        plan = base64_plan(32)
        unet = dataclasses.replace(plan.unet, **TINY_BASE)
    else:
        plan = {"sr256": sr256_plan, "sr1024": sr1024_plan}[stage]()
        large = {"sr256": "full256", "sr1024": "window1024"}[stage]  # scenes, which need no drawings
        plan = dataclasses.replace(plan, pictures=large, held_out=f"{large}_held_out", mixture={"textures256": 0.5})
        unet = dataclasses.replace(plan.unet, channels=(16, 16), num_res_blocks=(1, 1))
    return dataclasses.replace(plan, unet=unet, crop=min(plan.crop, 64), batch_size=2)


def _options(folder: Path, state: Path, **changes) -> TrainOptions:
    base = TrainOptions(
        state_dir=state, cache_dir=folder / "cache", models_dir=folder / "models", max_steps=2, preview_minutes=60.0
    )
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize("stage", ["base64", "sr256", "sr1024"])
def test_a_stage_trains_and_its_export_loads(stage, folder, tmp_path):
    plan = _plan(stage)
    result = train_stage(plan, _options(folder, tmp_path))
    assert result.state.step == 2 and result.state.images == 4
    loaded = load_stage(folder / "models" / f"{stage}.safetensors", expected_stage=stage)
    assert loaded.spec.training["images"] == 4 and loaded.spec.defaults == plan.defaults
    assert loaded.spec.unet_config == plan.unet
    for ours, theirs in zip(result.model.state_dict().values(), loaded.unet.state_dict().values(), strict=True):
        if plan.eight_bits:
            torch.testing.assert_close(ours, theirs, atol=0.005 * float(ours.abs().max()), rtol=1e-3)
        else:
            assert torch.equal(ours.half(), theirs.half())
    assert list(tmp_path.glob("preview_*.png"))


@pytest.mark.parametrize("stage", ["base64", "sr256"])
def test_resume_equals_the_uninterrupted_run(stage, folder, tmp_path):
    plan = dataclasses.replace(_plan(stage), loop=dataclasses.replace(_plan(stage).loop, decay_start=1.0))
    whole = train_stage(plan, _options(folder, tmp_path / "a", max_steps=3, export=False))
    train_stage(plan, _options(folder, tmp_path / "b", max_steps=1, export=False))
    rest = train_stage(plan, _options(folder, tmp_path / "b", max_steps=3, resume=True, export=False))
    for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_new_run_may_begin_from_exported_weights(folder, tmp_path):
    plan = _plan("sr256")
    options = _options(folder, tmp_path / "a", models_dir=tmp_path)
    train_stage(plan, options)
    again = dataclasses.replace(options, state_dir=tmp_path / "b", from_weights=tmp_path / "sr256.safetensors")
    assert train_stage(plan, again).state.images == 8
    with pytest.raises(ValueError, match="another network"):
        train_stage(dataclasses.replace(plan, unet=sr256_plan().unet), again)


def test_a_grown_plan_begins_from_older_weights(folder, tmp_path):
    plan = _plan("base64")
    old = dataclasses.replace(plan, unet=dataclasses.replace(plan.unet, fine_channels=0))
    options = _options(folder, tmp_path / "a", models_dir=tmp_path, seed=3)
    (tmp_path / "text_encoder").symlink_to(folder / "models" / "text_encoder")
    before = train_stage(old, options).model.state_dict()
    again = dataclasses.replace(options, from_weights=tmp_path / "base64.safetensors", seed=4)
    network, state = start_network(plan, again)
    after = network.state_dict()
    assert state.images == 4 and set(before) < set(after)
    assert all(torch.equal(after[key].half(), value.half()) for key, value in before.items())


def test_signs_are_drawn_and_weighed_as_the_plan_says(folder, tmp_path):
    plan = dataclasses.replace(_plan("base64"), layout_rates={"one": 0.0}, layout_weights={"two": 0.25})
    task = BaseTask(plan, _options(folder, tmp_path), load_text_encoder(folder / "models" / "text_encoder"))
    layouts = [LAYOUTS[i] for i in task.cache.labels["layout"]]
    assert task.rates.tolist() == [0.0 if name == "one" else 1.0 for name in layouts]
    assert task.weights.tolist() == [0.25 if name == "two" else 1.0 for name in layouts]


def test_a_run_goes_on_with_a_grown_network(folder, tmp_path):
    plan = _plan("base64")
    old = dataclasses.replace(plan, unet=dataclasses.replace(plan.unet, fine_channels=0))
    train_stage(old, _options(folder, tmp_path, max_steps=1, export=False))
    result = train_stage(plan, _options(folder, tmp_path, max_steps=3, resume=True, export=False))
    assert result.state.step == 3 and result.model.fine.head.weight.abs().max() > 0
    with pytest.raises(ValueError, match="another network"):
        train_stage(old, _options(folder, tmp_path, max_steps=4, resume=True, export=False))


def test_a_teacher_is_heard_in_its_block_and_goes_on_after_a_stop(folder, tmp_path):
    torch.manual_seed(0)
    teacher = save_classifier(Classifier(), tmp_path / "teacher.safetensors", {})
    plan = dataclasses.replace(_plan("base64"), teach_weight=10.0, teach_until=1.0)
    options = _options(folder, tmp_path, teacher=teacher, max_steps=1, export=False)
    encoder = load_text_encoder(folder / "models" / "text_encoder")
    task = BaseTask(plan, options, encoder)
    network = build_unet(plan.unet)
    task.loss(network, torch.Generator().manual_seed(0), 0.0).backward()
    grads = [block.mlp[2].weight.grad for block in network.transformer]
    assert grads[2] is not None and task.helper.project[2].weight.grad.abs().max() > 0
    assert plan.teach_at == "transformer.2" and not network.get_submodule(plan.teach_at)._forward_hooks
    late = task.loss(network, torch.Generator().manual_seed(0), 1.0)
    assert late < task.loss(network, torch.Generator().manual_seed(0), 0.0)  # nobody teaches at the end of a run
    train_stage(plan, options)
    with safe_open(tmp_path / "state.safetensors", framework="pt") as file:
        assert {key for key in file.keys() if key.startswith("helper/")} == {  # noqa: SIM118
            f"helper/{name}" for name in task.helper.state_dict()
        }
    train_stage(plan, dataclasses.replace(options, resume=True, max_steps=2))


def test_what_a_teacher_sees_is_learned():
    """Tokens that are the teacher's own map, and a projection that hands them on, are at no distance."""
    torch.manual_seed(0)
    teacher, x_0 = Classifier(), torch.rand(2, 3, 64, 64) * 2 - 1
    teaching = Teaching(teacher, teacher.channels[-1])
    teaching.project = torch.nn.Identity()
    with torch.no_grad():
        seen = teacher.late[:-1](teacher.early(x_0)).flatten(2).mT
    block = torch.nn.Identity()
    with teaching.listening(block):
        block(3.0 * seen)
    assert teaching.distance(x_0) == pytest.approx(0.0, abs=1e-5)
    with teaching.listening(block):
        block(-seen)
    assert teaching.distance(x_0) == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("mask", [None, "boolean", "added"])
def test_written_out_attention_is_attention(mask):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8).bfloat16() for n in (5, 7, 7))
    allowed = torch.arange(7) < torch.tensor([7, 4])[:, None, None, None]
    given = {None: None, "boolean": allowed, "added": torch.randn(2, 1, 5, 7).bfloat16()}[mask]
    plain = torch.nn.functional.scaled_dot_product_attention
    with autocast("cpu", bf16=True):
        out = plain(q, k, v, attn_mask=given, scale=0.5)
        causal = plain(k, k, v, is_causal=True)
    assert out.dtype is causal.dtype is torch.bfloat16
    torch.testing.assert_close(
        causal.float(), plain(*(x.float() for x in (k, k, v)), is_causal=True), atol=0.03, rtol=0.03
    )
    mask = given.float() if given is not None and given.is_floating_point() else given
    wanted = plain(q.float(), k.float(), v.float(), attn_mask=mask, scale=0.5)
    torch.testing.assert_close(out.float(), wanted, atol=0.03, rtol=0.03)


def test_bf16_gives_nearly_the_same_output():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(2, 8))
    x = torch.randn(2, 3, 8, 8)
    with autocast("cpu", bf16=True):
        out = net(x)
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out.float(), net(x), atol=0.05, rtol=0.05)


def test_loss_of_a_perfect_network_is_zero_whatever_it_predicts():
    generator = torch.Generator().manual_seed(0)
    x_0, times = torch.rand(4, 3, 8, 8, generator=generator), draw_times(4, generator, power=0.75)
    noise = torch.randn(x_0.shape, generator=generator)
    for kind, schedule in product(PREDICTIONS, (CosineSchedule(), FlowSchedule())):
        alpha, sigma = (part[:, None, None, None] for part in schedule.alpha_sigma(times))
        output = prediction_of(kind).target(x_0, noise, alpha, sigma)

        def perfect(x_t, time, output=output, schedule=schedule):
            if schedule.name == "flow":  # the network sees the flow's own state, not ours
                s = time[:, None, None, None] / 1000
                torch.testing.assert_close(x_t, (1 - s) * x_0 + s * noise, rtol=1e-4, atol=1e-5)
            return output

        loss = diffusion_loss(
            perfect,
            x_0,
            schedule=schedule,
            prediction_type=kind,
            times=times,
            noise=noise,
        )
        assert loss.item() < 1e-6


def test_weights_and_times_keep_to_their_ranges():
    assert loss_weight(torch.tensor([1.0, 0.5, 0.01]), 5.0).tolist() == pytest.approx([1.0, 4.0, 5.0])
    times = draw_times(1000, torch.Generator().manual_seed(0), power=0.75)
    assert times.min() > 0 and times.max() <= 1 and times.mean() == pytest.approx(1 / 1.75, abs=0.01)


def test_the_cache_resumes_and_reads_what_was_rendered(folder):
    cache = PictureCache(folder / "cache", "base64")
    before = (cache.folder / "00000.npy").stat().st_mtime_ns
    render_pictures(data.KINDS["base64"], 8, folder / "cache")
    assert (cache.folder / "00000.npy").stat().st_mtime_ns == before
    cache.refresh()
    assert len(cache) == 8 == len(cache.labels["layout"])
    pictures = cache.pictures([0, 7])
    assert pictures.shape == (2, 3, 64, 64) and pictures.abs().max() <= 1
    with pytest.raises(ValueError, match="imagen train pictures"):
        PictureCache(folder, "base64")


def test_crops_come_from_the_pictures_and_repeat_with_their_generator(folder):
    cache = PictureCache(folder / "cache", "window1024")
    first, again = (cache.crops(3, 32, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.large.shape == (3, 3, 32, 32) and torch.equal(first.large, again.large)
    assert torch.equal(first.small, shrink(first.large))


def test_dropped_captions_become_the_null_prompt(folder):
    cache = PictureCache(folder / "cache", "base64")
    encoder = load_text_encoder(folder / "models" / "text_encoder")
    texts = CaptionEmbeds(cache, encoder, "tiny")
    embeds = texts.of([0, 1], torch.tensor([True, False]))
    assert embeds.mask[0].tolist() == [True] + [False] * (embeds.mask.shape[1] - 1)
    assert not embeds.embeds[0].any() and embeds.embeds[1].any() and embeds.mask[1].all()
    expected = encoder.encode([cache.captions[1]]).embeds[0]
    torch.testing.assert_close(embeds.embeds[1], expected, atol=2e-3, rtol=2e-3)  # float16 on the disk


def test_captions_are_encoded_once(folder):
    cache = PictureCache(folder / "cache", "base64")
    encoder = load_text_encoder(folder / "models" / "text_encoder")
    first = CaptionEmbeds(cache, encoder, "once")
    files = {file: file.stat().st_mtime_ns for file in cache.folder.glob("*.once*")}
    again = CaptionEmbeds(cache, encoder, "once")
    assert files and {file: file.stat().st_mtime_ns for file in cache.folder.glob("*.once*")} == files
    for index in (0, 3):
        kept = torch.tensor([False])
        assert torch.equal(first.of([index], kept).embeds, again.of([index], kept).embeds)


def test_export_of_a_run_that_goes_on(folder, tmp_path):
    options = _options(folder, tmp_path, models_dir=tmp_path, export=False)
    train_stage(_plan("sr256"), options)
    path = export_saved(_plan("sr256"), options)
    assert load_stage(path).spec.training["steps"] == 2


def test_psnr_and_grid():
    assert psnr(torch.full((1, 3, 4, 4), 0.2), torch.zeros(1, 3, 4, 4)) == pytest.approx(20.0, abs=1e-3)
    assert grid(torch.zeros(5, 3, 4, 6), columns=3, scale=2).shape == (3, 16, 36)
    assert bicubic(shrink(torch.zeros(1, 3, 16, 16))).shape == (1, 3, 16, 16)


def test_a_missing_text_encoder_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no text encoder at .*things_text_encoder: put one there"):
        cli.main(["train", "things64", "--minutes", "1", "--models-dir", str(tmp_path)])


def test_a_device_that_is_not_there_is_refused_at_once(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "sr256", "--minutes", "1", "--device", "nonsense"])
    assert "argument --device: there is no device 'nonsense' here" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"minutes": -3.0}, {"rate": -1.0}, {"batch_size": 0}])
def test_a_run_that_could_do_nothing_is_refused(wrong, tmp_path):
    folders = dict.fromkeys(("state_dir", "cache_dir", "models_dir"), tmp_path)
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: expected (0|more than 0)"):
        TrainOptions(**{**folders, "max_steps": 1, **wrong})


def test_how_many_is_a_whole_number_from_1_on(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "pictures", "--kind", "base64", "--count", "0"])
    assert "argument --count: expected a whole number from 1 on, not '0'" in capsys.readouterr().err


def test_pictures_of_no_known_set_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no set of pictures 'nonsense': expected one of base64, "):
        PictureCache(tmp_path, "nonsense")


# They begin with a base, which has to be named.
STEERING = ("control", "adapter", "image_prompt", "distill", "identity", "reference")


def test_commands_parse_and_render(folder, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    base = tmp_path / "base.safetensors"
    base.touch()
    for stage in TRAINABLES:
        beside = ["--base", str(base)] if stage in STEERING else []
        assert parser.parse_args(["train", stage, "--minutes", "1", *beside]).stage == stage
    count = ["train", "pictures", "--kind", "base64_held_out", "--count", "4", "--cache-dir", str(tmp_path)]
    assert cli.main(count) == 0 and len(PictureCache(tmp_path, "base64_held_out")) == 4
    assert set(cli.PICTURES) == set(data.KINDS)
