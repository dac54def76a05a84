"""Are made-up individuals the same in every scene, told apart by a code, and learned beside a frozen base, by command?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from random import Random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from imagen_core import ADAPTERS, draw_key_points, load_adapter, load_stage
from imagen_core.key_points import pose_points
from imagen_train import cli, data, identity_code
from imagen_train.control_plans import identity_plan
from imagen_train.control_training import task_of, train_control
from imagen_train.controls import start_adapter
from imagen_train.data import PictureCache, render_pictures, to_float
from imagen_train.evaluate import SamplingSettings
from imagen_train.evaluate_identity import (
    WAYS,
    Asked,
    backdrop_holds,
    evaluate_identity,
    nearest_of,
    pose_off,
    shown,
)
from imagen_train.identities import EACH, HELD_OUT, IdentityKind, Sight, paint, sight_of
from imagen_train.identity_code import (
    fresh_encoder,
    info_nce,
    load_identity_code,
    roc_area,
    train_identity_code,
    verification,
)
from imagen_train.identity_labels import Identities
from imagen_train.judge_files import save_judge
from imagen_train.loop import LoopConfig, train
from imagen_train.optim import OptimConfig
from imagen_train.options import TrainOptions
from imagen_train.stickers import backdrops
from imagen_train.stickers.figures import PATTERNS, Pose, drawn, figure_of

MIDDLE = Pose(0.5, 0.5, 0.0, 0.6)
SMALL = {"tokens": 2, "width": 16, "hidden": 16, "hint_width": 8, "fine_width": 0, "depth": 1}


@pytest.fixture
def options(models, tmp_path, monkeypatch):
    for kind in (
        IdentityKind(name="who", side=32, chunk=16),
        IdentityKind(name="who_held_out", side=32, chunk=16, first=HELD_OUT),
    ):
        monkeypatch.setitem(data.KINDS, kind.name, kind)
        render_pictures(kind, 16, tmp_path / "cache")
    monkeypatch.setattr(identity_code, "HELD_OUT_PICTURES", 16)
    return TrainOptions(
        state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=12, batch_size=8,
        preview_minutes=float("inf"),
    )  # fmt: skip


@pytest.fixture
def code(tmp_path):
    torch.manual_seed(3)
    return save_judge(
        fresh_encoder(), tmp_path / "code.safetensors", {}, kind="identity_code", heads=identity_code.SETTINGS
    )


@pytest.fixture
def plan(lively, code):
    plan = identity_plan(lively, code)
    return dataclasses.replace(
        plan,
        pictures="who",
        config=dataclasses.replace(plan.config, **SMALL),
        loop=LoopConfig(warmup_steps=2, ema_half_life=3.0),
        optim=OptimConfig(muon_lr=0.01, adamw_lr=0.01),
    )


def test_a_number_is_always_the_same_individual_and_two_are_two():
    assert figure_of(7) == figure_of(7)
    figures = [figure_of(number) for number in range(60)]
    assert len({each.colors for each in figures}) == 60 and {each.pattern for each in figures} == set(PATTERNS)


def test_a_figure_lies_where_its_pose_says_and_turns_with_it():
    figure = dataclasses.replace(figure_of(1), taper=0.0, depth=0.0)
    rgb, covered = drawn(figure, MIDDLE, 64)
    where = np.argwhere(covered[..., 0] > 0.5)
    assert np.ptp(where[:, 1]) + 1 == pytest.approx(0.6 * 64, abs=1.5)
    assert np.ptp(where[:, 0]) + 1 == pytest.approx(0.6 * 64 * figure.aspect, abs=1.5)
    assert where.mean(0).tolist() == pytest.approx([31.5, 31.5], abs=0.3)
    back, there = drawn(figure, dataclasses.replace(MIDDLE, angle=180.0), 64)
    np.testing.assert_allclose(back[::-1, ::-1], rgb, atol=2e-3)
    moved, _ = drawn(figure, dataclasses.replace(MIDDLE, x=0.5 + 5 / 64, y=0.5 - 3 / 64), 64)
    np.testing.assert_allclose(np.roll(rgb, (-3, 5), (0, 1)), moved, atol=0.4)
    assert np.abs(np.roll(rgb, (-3, 5), (0, 1)) - moved).mean() < 1e-3
    outside, nothing = drawn(figure, Pose(3.0, 0.5, 0.0, 0.3), 64)
    assert outside.max() == 0 and nothing.max() == 0


def test_its_front_is_where_the_key_points_say():
    """The cap's colour lies around the second of the five points, and not around the third."""
    for number in range(6):
        figure = figure_of(number)
        sight = Sight(number, "white", False, 0, Pose(0.45, 0.55, 35.0 * number, 0.7))
        pixels = paint(sight) / 255
        pose = (torch.tensor([getattr(sight.pose, name)]) for name in ("x", "y", "angle", "size"))
        centre, front, back = pose_points(*pose, 64, 64)[0, :3]

        def off(place, pixels=pixels, centre=centre, cap=figure.colors[2]):
            x, y = (centre + 0.78 * (place - centre)).tolist()
            return np.abs(pixels[int(y), int(x)] - cap).max()

        assert off(front) < 0.1 < off(back), number


def test_a_set_shows_each_individual_several_times_and_says_how(options):
    cache = PictureCache(options.cache_dir, "who")
    known = Identities.of(cache)
    assert {len(members) for members in known.alike.values()} == {EACH} and len(known.alike) == 16 // EACH
    sights = data.KINDS["who"].sights(0)
    words = [phrase for phrases in backdrops.SCENE_PHRASES.values() for phrase in phrases]
    for index, sight in enumerate(sights):
        assert torch.equal(cache.pictures([index])[0], to_float(paint(sight, 32)[None])[0])
        said = cache.captions[index].replace("grey", "gray")
        assert any(word in said for word in words) or sight.backdrop in said
        again = [known.pose[name][index].item() for name in ("x", "y", "size")]
        assert again == pytest.approx([sight.pose.x, sight.pose.y, sight.pose.size], abs=6e-4)
    other = known.other(5, Random(0))
    assert other != 5 and known.identity[other] == known.identity[5]
    pose = sights[5].pose
    wanted = draw_key_points(
        *(torch.tensor([getattr(pose, n)]) for n in ("x", "y", "angle", "size")), height=32, width=32
    )
    torch.testing.assert_close(known.key_points([5], 32, 32), wanted, atol=0.05, rtol=0)
    assert not set(known.alike) & set(Identities.of(PictureCache(options.cache_dir, "who_held_out")).alike)
    cache.labels.pop("angle")
    with pytest.raises(ValueError, match="who have no labels angle, which say who is shown and how it stands"):
        Identities.of(cache)


def test_info_nce_is_its_formula_and_least_where_partners_are_alike():
    one, other = (F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(s)), dim=1) for s in (0, 1))
    logits = 3.0 * one @ other.T
    by_hand = sum(
        -torch.log(logits[i, i].exp() / logits[i].exp().sum())
        - torch.log(logits[i, i].exp() / logits[:, i].exp().sum())
        for i in range(5)
    )
    torch.testing.assert_close(info_nce(one, other, 3.0), by_hand / 10)
    assert info_nce(one, one) < info_nce(one, other)


def test_the_area_is_how_often_the_right_is_larger():
    assert roc_area(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])) == 1.0
    assert roc_area(torch.tensor([1.0, 3.0]), torch.tensor([2.0])) == 0.5
    assert roc_area(torch.tensor([2.0]), torch.tensor([2.0, 1.0])) == 0.75
    codes = torch.eye(4)
    assert verification(codes, codes) == {"auc": 1.0, "found": 1.0, "same": 1.0, "others": 0.0}
    assert verification(codes, codes.roll(1, 0))["auc"] < 0.5


def test_an_encoder_learns_to_tell_them_apart_and_comes_back_from_its_file(options, tmp_path):
    run = dataclasses.replace(options, max_steps=30)
    figures = train_identity_code(run, tmp_path / "code.safetensors", pictures="who")
    assert figures["steps"] == 30 and figures["held_out"]["individuals"] == 4
    encoder = load_identity_code(tmp_path / "code.safetensors")
    assert sum(parameter.numel() for parameter in encoder.parameters()) <= 500_000
    cache, fresh = PictureCache(options.cache_dir, "who"), fresh_encoder()
    learned, before = (identity_code.code_figures(each, cache) for each in (encoder, fresh))
    assert learned["same"] - learned["others"] > before["same"] - before["others"] + 0.1
    with pytest.raises(FileNotFoundError, match="run `imagen train identity_code`"):
        load_identity_code(tmp_path / "none.safetensors")


def test_the_loss_falls_and_base_and_encoder_stay_as_they_are(plan, code, options):
    stage = load_stage(plan.base)
    before = {key: value.clone() for key, value in stage.unet.state_dict().items()}
    task = task_of(plan, stage, options)
    network = start_adapter(plan, stage, options)

    def error(adapter):
        with torch.no_grad():
            return np.mean([task.loss(adapter, torch.Generator().manual_seed(s), 0.0).item() for s in range(4)])

    first = error(network)
    learned = train(network, task, options, optim=plan.optim, config=plan.loop)
    assert error(learned.model) < 0.99 * first
    assert all(torch.equal(before[key], value) for key, value in stage.unet.state_dict().items())
    encoder = load_identity_code(code).state_dict()
    assert all(torch.equal(encoder[key], value) for key, value in learned.model.encoder.state_dict().items())
    preview = task.preview(learned.model)
    assert preview.picture.shape[1] == 4 * 32 and set(preview.figures) == {"auc", "found", "same", "others"}


def test_a_batch_is_learned_in_each_of_the_ways_from_other_pictures_of_the_same(plan, options):
    stage = load_stage(plan.base)
    task, seen = task_of(plan, stage, options), set()
    for seed in range(24):
        generator = torch.Generator().manual_seed(seed)
        x_0, text, base = task._batch(generator)
        given = task._given(x_0, text, base, generator)
        seen.add((given.key_points is not None, given.beside))
        assert given.known.shape == (len(x_0),)
        apart = (given.picture - x_0).abs().mean((1, 2, 3))
        assert (apart > 0.02).all()
        if given.key_points is not None:
            torch.testing.assert_close(given.key_points, task.identities.key_points(task.indices, 32, 32))
    assert seen == {(True, True), (False, True), (True, False)}


def test_somebody_elses_encoder_takes_the_place_of_ours(lively, options, tmp_path):
    embeds = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
    save_file({"embeds": embeds}, tmp_path / "embeds.safetensors")
    plan = identity_plan(lively, None, tmp_path / "embeds.safetensors")
    plan = dataclasses.replace(plan, pictures="who", config=dataclasses.replace(plan.config, **SMALL))
    run = dataclasses.replace(options, max_steps=2, preview_minutes=1.0)
    train_control(plan, run, tmp_path / "theirs.safetensors")
    network = load_adapter(tmp_path / "theirs.safetensors").network
    assert network.reads_embeds == 12 and not network.reads_pictures
    save_file({"embeds": embeds[:5]}, tmp_path / "short.safetensors")
    short = dataclasses.replace(plan, embeds=tmp_path / "short.safetensors")
    with pytest.raises(
        ValueError, match=r"a row for each of the 16 pictures, in their order, and has one of \(5, 12\)"
    ):
        task_of(short, load_stage(lively), run)
    save_file({"others": embeds}, tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="has no tensor 'embeds' of a row a picture"):
        identity_plan(lively, None, tmp_path / "none.safetensors")


def test_one_command_makes_a_file_and_one_measures_it(models, code, options, capsys, tmp_path):
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    out = options.state_dir / "models"
    out.mkdir()
    (out / "text_encoder").symlink_to(models / "text_encoder")
    base = models / "base64.safetensors"
    where = ["--state-dir", str(tmp_path), "--cache-dir", str(options.cache_dir), "--models-dir", str(out)]
    told = ["--base", str(base), "--pictures", "who", "--max-steps", "2", "--batch-size", "4", "--code", str(code)]
    args = parser.parse_args(["train", "identity", *told, *where, "--preview-minutes", "inf", "--depth", "1"])
    assert args.handler(args) == 0
    loaded = load_adapter(out / "identity.safetensors")
    assert loaded.spec.name == "identity" and loaded.spec.training["code"] == "code.safetensors"
    with safe_open(out / "identity.safetensors", "pt") as file:
        assert any(key.endswith(".weight_scale") for key in file.keys())  # noqa: SIM118
    capsys.readouterr()
    asked = ["--identity", str(out / "identity.safetensors"), "--models-dir", str(out), "--count", "2", "--scenes", "1"]
    asked += ["--code", str(code)]
    args = parser.parse_args(
        ["evaluate", "identity", "--base", str(base), *asked, "--steps", "1", "--pictures", str(tmp_path / "sheet.png")]
    )
    assert args.handler(args) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {*WAYS, "renders", "asked", "settings"} and (tmp_path / "sheet.png").stat().st_size > 0
    assert set(figures["both"]) == {
        "auc", "found", "same", "others", "auc_by_scene", "nearest", "centre_off", "angle_off", "backdrop", "by_other_code",
    }  # fmt: skip
    other = figures["renders"]["by_other_code"]  # the same but for the eight bits in which the file keeps it
    assert other["same"] == pytest.approx(figures["renders"]["same"], abs=0.02)
    with pytest.raises(ValueError, match="give one"):
        both = ["--embeds", str(code), "--code", str(code)]
        args = parser.parse_args(["train", "identity", "--base", str(base), *both, "--max-steps", "1"])
        args.handler(args)


def test_renders_are_their_own_ceiling_and_others_are_not():
    asked = Asked.of(3, 1)
    for sight, picture in zip(asked.scenes[0], shown(asked.scenes[0], 64), strict=True):
        assert nearest_of(picture, sight) and backdrop_holds(picture, sight)
        assert pose_off(picture, sight) == (0.0, 0.0)
    sight = Sight(HELD_OUT, "blue", False, 1, Pose(0.5, 0.5, 20.0, 0.5))
    elsewhere = dataclasses.replace(sight, backdrop="red", pose=Pose(0.5 + 6 / 64, 0.5 - 8 / 64, 110.0, 0.5))
    picture = shown([elsewhere], 64)[0]
    assert not backdrop_holds(picture, sight)
    picture = shown([dataclasses.replace(elsewhere, backdrop="blue")], 64)[0]
    off, turned = pose_off(picture, sight)
    assert off == pytest.approx(10.0, abs=1.0) and turned == 90.0
    other = shown([dataclasses.replace(sight, identity=HELD_OUT + 77)], 64)[0]
    assert not nearest_of(other, sight)


def test_what_is_no_identity_is_not_measured(models, lively, options, plan, code):
    settings = SamplingSettings(steps=1)
    embeds = options.state_dir / "embeds.safetensors"
    save_file({"embeds": torch.randn(16, 12)}, embeds)
    theirs = identity_plan(lively, None, embeds)
    theirs = dataclasses.replace(theirs, pictures="who", config=dataclasses.replace(theirs.config, **SMALL))
    path = options.state_dir / "theirs.safetensors"
    train_control(theirs, dataclasses.replace(options, max_steps=1, batch_size=2), path)
    with pytest.raises(ValueError, match="is no identity that sees pictures itself"):
        evaluate_identity(lively, path, models, count=1, scenes=1, settings=settings)
    with pytest.raises(ValueError, match="an identity is learned by a base that draws"):
        task_of(dataclasses.replace(plan, folder=options.state_dir), load_stage(lively), options)
    assert "identity" in ADAPTERS


def test_sights_are_whole_and_of_any_backdrop():
    rng = Random(0)
    sights = [sight_of(number, rng) for number in range(400)]
    assert {sight.backdrop for sight in sights} == set(backdrops.NAMES)
    for sight in sights[:40]:
        _, covered = drawn(sight.figure, sight.pose, 64)
        rim = np.concatenate([covered[0], covered[-1], covered[:, 0], covered[:, -1]])
        assert rim.mean() < 0.2
