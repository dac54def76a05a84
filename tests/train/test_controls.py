"""Does a control learn beside a frozen base, by command, from hints made on the way, and is what it leaves loadable?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from imagen_core import HINTS, AdapterSpec, inspect_checkpoint, load_adapter, load_stage, save_adapter, save_checkpoint
from imagen_core.checkpoints.readers.change import Learned
from imagen_core.checkpoints.readers.control import save_adapter_change
from imagen_core.clip.config import ClipConfig, VisionConfig
from imagen_core.clip.network import ClipNetwork
from imagen_core.hints.edges import Edges
from imagen_train import cli, data
from imagen_train.caption_files import encoder_for
from imagen_train.changes import changed_layers
from imagen_train.companions import Case, Companions, rows_of
from imagen_train.control_plans import adapter_plan, control_plan, held_out_of, image_prompt_plan, with_pictures
from imagen_train.control_training import task_of, train_control
from imagen_train.controls import hints_of, start_adapter
from imagen_train.data import Rendered, render_pictures
from imagen_train.evaluate import SamplingSettings
from imagen_train.evaluate_control import evaluate_control
from imagen_train.following import edge_f1, edge_offset, ground_iou, palette_error
from imagen_train.loop import LoopConfig, train
from imagen_train.optim import OptimConfig, split_parameters
from imagen_train.options import TrainOptions
from imagen_train.stickers.backdrops import NAMES as BACKDROPS


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Flat boxes on flat grounds."""

    name: str = "boxes"
    side: int = 32
    window: None = None
    chunk: int = 16
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        draw = np.random.default_rng(index)
        pixels = np.broadcast_to(draw.integers(0, 256, (16, 1, 1, 3)), (16, 32, 32, 3)).astype(np.uint8)
        for picture in pixels:
            top, left = draw.integers(2, 16, 2)
            picture[top : top + 12, left : left + 12] = draw.integers(0, 256, 3)
        return Rendered(pixels, ["a box"] * 16, {})


@pytest.fixture
def options(models, tmp_path, monkeypatch):
    monkeypatch.setitem(data.KINDS, "boxes", Boxes())
    render_pictures(Boxes(), 16, tmp_path / "cache")
    return TrainOptions(
        state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=12, batch_size=8, export=False,
        preview_minutes=float("inf"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(models, tmp_path_factory):
    """A base that draws something: one whose head is zero lets no gradient through."""
    stage = load_stage(models / "base64.safetensors")
    torch.manual_seed(0)
    for parameter in stage.unet.parameters():
        if parameter.abs().max() == 0:
            parameter.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("base") / "base64.safetensors"
    save_checkpoint(path, stage.unet, spec=stage.spec)
    return path


@pytest.fixture(params=["control", "adapter", "image_prompt"])
def plan(request, base):
    hints = ("edges", "palette")
    made = {"control": control_plan, "adapter": adapter_plan}.get(
        request.param, lambda base, _: image_prompt_plan(base)
    )
    plan = made(base, hints)
    loop = LoopConfig(warmup_steps=2, ema_half_life=3.0)
    return dataclasses.replace(plan, pictures="boxes", loop=loop, optim=OptimConfig(muon_lr=0.01, adamw_lr=0.01))


def test_the_loss_falls_and_the_base_stays_as_it_is(plan, options):
    stage = load_stage(plan.base)
    before = {key: value.clone() for key, value in stage.unet.state_dict().items()}
    task = task_of(plan, stage, options)
    network = start_adapter(plan, stage, options)

    def error(adapter):
        with torch.no_grad():
            return np.mean([task.loss(adapter, torch.Generator().manual_seed(seed), 0.0).item() for seed in range(2)])

    first = error(network)
    learned = train(network, task, options, optim=plan.optim, config=plan.loop)
    assert error(learned.model) < 0.99 * first  # of the same batches and noise
    assert all(torch.equal(before[key], value) for key, value in stage.unet.state_dict().items())
    preview = task.preview(learned.model)
    hinted = plan.adapter != "image_prompt"
    assert preview.picture.shape[1] == (4 if hinted else 2) * 32
    assert set(preview.figures) == (
        {"edges_edge_f1", "edges_edge_offset", "palette_palette_error"} if hinted else {"palette_error"}
    )


def test_layers_that_start_at_zero_are_not_orthogonalised(plan, options):
    network = start_adapter(plan, load_stage(plan.base), options)
    matrices, rest = split_parameters(network)
    assert matrices and all(parameter.abs().max() > 0 for parameter in matrices if parameter.requires_grad)
    zeros = [p for name, p in network.named_parameters() if name.startswith(("joins", "out", "kind.", "hint.out"))]
    zeros += [p for name, p in network.named_parameters() if name.endswith("values.weight") and "layers" in name]
    assert zeros and all(any(zero is each for each in rest) for zero in zeros)


def test_a_run_can_be_stopped_and_goes_on(plan, options):
    """The split of parameters is the same when zeros have moved."""
    half = dataclasses.replace(options, max_steps=2)
    train_control(plan, half, options.state_dir / "control.safetensors")
    result = train_control(plan, dataclasses.replace(options, max_steps=4, resume=True), options.state_dir / "x")
    assert result.state.step == 4


@pytest.mark.parametrize("name", ["control", "adapter", "image_prompt"])
def test_one_command_makes_a_file_that_steers(name, models, options, capsys):
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    base, out = str(models / "base64.safetensors"), options.state_dir / "models"
    (out / "text_encoder").parent.mkdir()
    (out / "text_encoder").symlink_to(models / "text_encoder")
    where = ["--state-dir", str(options.state_dir), "--cache-dir", str(options.cache_dir), "--models-dir", str(out)]
    told = ["--base", base, "--pictures", "boxes", "--max-steps", "3", "--batch-size", "4"]
    hints = [] if name == "image_prompt" else ["--hint", "edges,tile"]
    args = parser.parse_args(["train", name, *told, *hints, *where, "--preview-minutes", "inf"])
    assert args.handler(args) == 0
    file = out / f"{'controlnet' if name == 'control' else name}.safetensors"
    loaded = load_adapter(file)
    assert loaded.spec.config.kinds == (("edges", "tile") if hints else ("picture",))
    assert loaded.spec.training["steps"] == 3
    with safe_open(file, "pt") as stored:
        assert any(key.endswith(".weight_scale") for key in stored.keys()) == (name == "control")  # noqa: SIM118
    stage = load_stage(base)
    loaded.check_fits(stage)


def test_a_small_file_keeps_the_copy_as_its_change_of_the_base_beside_it(base, options, tmp_path):
    plan = dataclasses.replace(control_plan(base, ("edges",), lora_rank=4), pictures="boxes", batch_size=4)
    options, path = dataclasses.replace(options, max_steps=3, export=True), tmp_path / "controlnet.safetensors"
    with pytest.raises(ValueError, match=f"kept as a change of {base.name} and read beside it, and .* has none: put"):
        train_control(plan, options, path)
    there = tmp_path / base.name
    shutil.copy(base, there)
    plan = dataclasses.replace(plan, base=there)
    trained = train_control(plan, options, path).model
    loaded, layers = load_adapter(path), changed_layers(trained)
    assert layers and loaded.spec.training["rank"] == 4 and all(name.startswith("copy.") for name in layers)
    state = loaded.network.state_dict()
    for name, layer in layers.items():
        assert layer.change.up.abs().max() > 0.0, name
        torch.testing.assert_close(state[f"{name}.weight"], layer.weight, atol=1e-3, rtol=1e-2)
    learned = {key: part for key, part in trained.state_dict().items() if ".change." not in key}
    assert state.keys() == {*learned, *(f"{name}.weight" for name in layers)}
    for key, part in learned.items():
        torch.testing.assert_close(state[key], part, atol=1e-3, rtol=1e-2)
    assert inspect_checkpoint(path)["naming"] == f"change of {base.name}"

    onward = dataclasses.replace(options, from_weights=path, state_dir=tmp_path / "more", max_steps=1, rate=1e-6)
    again = train_control(plan, onward, path).model
    for name, layer in changed_layers(again).items():
        torch.testing.assert_close(layer.weight, layers[name].weight, atol=1e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="is of another rank, or of another network"):
        train_control(dataclasses.replace(plan, lora_rank=2), onward, path)
    save_adapter(tmp_path / "whole.safetensors", loaded.network, loaded.spec)
    with pytest.raises(ValueError, match="kept whole, and no change to go on from: leave out --rank"):
        train_control(plan, dataclasses.replace(onward, from_weights=tmp_path / "whole.safetensors"), path)

    other = load_stage(base)
    for parameter in other.unet.parameters():
        parameter.data += 1.0
    save_checkpoint(there, other.unet, spec=other.spec)
    with pytest.raises(ValueError, match=f"change of {base.name}, and the one beside it is another"):
        load_adapter(path)
    there.unlink()
    with pytest.raises(ValueError, match=f"change of {base.name}, which is not beside it: put"):
        load_adapter(path)


def test_what_takes_nothing_over_cannot_be_a_change(base, options, tmp_path):
    plan = dataclasses.replace(adapter_plan(base, ("edges",)), pictures="boxes", batch_size=4)
    path, stage = tmp_path / "adapter.safetensors", load_stage(base)
    network = start_adapter(plan, stage, options)
    learned = Learned(factors={}, whole=network.state_dict())
    save_adapter_change(path, learned, AdapterSpec.of(network, stage), base.name)
    with pytest.raises(ValueError, match="of which an adapter of the kind t2i_adapter has nothing: it is damaged"):
        load_adapter(path)


def test_enlarging_stages_are_controlled_too(models, options):
    plan = dataclasses.replace(
        control_plan(models / "sr256.safetensors", ("edges",)), pictures="boxes", crop=32, batch_size=4
    )
    result = train_control(
        plan, dataclasses.replace(options, max_steps=2, preview_minutes=1.0), options.state_dir / "x"
    )
    assert result.state.step == 2 and list(options.state_dir.glob("preview_*.png"))


def test_ones_own_folder_is_trained_on(base, options, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for index, pixels in enumerate(np.repeat(np.repeat(Boxes().rendered(0).pixels[:3], 2, 1), 2, 2)):
        Image.fromarray(pixels).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text("a box")
    plan = dataclasses.replace(adapter_plan(base, ("palette",)), folder=folder)
    result = train_control(plan, dataclasses.replace(options, max_steps=1, batch_size=2), tmp_path / "x.safetensors")
    assert result.state.step == 1


def test_a_base_says_which_pictures_it_learned_from(base):
    plan, spec = adapter_plan(base, ("palette",)), load_stage(base).spec
    own = dataclasses.replace(spec, stage="base32", training={"pictures": "things64_first"})
    assert with_pictures(plan, own).pictures == "things64_first"
    assert held_out_of(own) == "things64_first_held_out"
    crowded = dataclasses.replace(spec, training={"pictures": "things64_crowded"})  # no set is held out for it alone
    told = with_pictures(plan, crowded)
    assert (told.pictures, told.held_out) == ("things64_crowded", None)  # shown where they are there, and not asked for
    assert held_out_of(crowded) == held_out_of(spec) == "things64_wide_held_out"
    assert with_pictures(plan, spec).pictures == "things64_wide"
    with pytest.raises(ValueError, match="no pictures that a base32 stage is trained on: name some with --folder"):
        with_pictures(plan, dataclasses.replace(spec, stage="base32", training={}))


def test_the_text_encoder_is_the_one_of_the_bases_width(tmp_path):
    for folder, width in (("text_encoder", {"d_model": 128}), ("things_text_encoder", {"hidden_size": 384})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(width))
    empty = tmp_path / "elsewhere"
    assert encoder_for(384, (empty, tmp_path)) == tmp_path / "things_text_encoder"
    assert encoder_for(128, (tmp_path, empty)) == tmp_path / "text_encoder"
    with pytest.raises(ValueError, match=r"no text encoder of width 64, .*elsewhere or .*: name one by --text-encoder"):
        encoder_for(64, (empty, tmp_path))


def test_a_runs_numbers_in_bfloat16_hinder_no_hint(base, options):
    plan = dataclasses.replace(adapter_plan(base, ("edges", "scribble", "segments")), pictures="boxes")
    run = dataclasses.replace(options, max_steps=1, bf16=True)
    assert train_control(plan, run, options.state_dir / "x").state.step == 1


def test_hints_are_made_on_the_way_of_all_kinds_in_turn():
    pictures = torch.from_numpy(Boxes().rendered(0).pixels).permute(0, 3, 1, 2) / 127.5 - 1
    hints, kind = hints_of(pictures, ("edges", "palette", "tile"), torch.Generator().manual_seed(0))
    assert sorted(kind.bincount().tolist()) == [5, 5, 6]
    for index, name in enumerate(("edges", "palette", "tile")):
        assert HINTS[name]().fits(hints[kind == index])


def test_every_other_of_the_segments_is_what_is_known_to_lie_there():
    pictures = torch.from_numpy(Boxes().rendered(0).pixels).permute(0, 3, 1, 2) / 127.5 - 1
    regions = torch.zeros(16, 32, 32, dtype=torch.long)
    regions[:, :8] = 1  # of no box
    hints, kind = hints_of(pictures, ("segments", "palette"), torch.Generator().manual_seed(0), regions)
    assert HINTS["segments"]().fits(hints[kind == 0])
    known = (hints[:, :, :8] == hints[:, :, :1, :1]).all((1, 2, 3)) & (hints[:, :, 8:] == -1).all((1, 2, 3))
    assert known[kind == 0].sum() == 4 and not known[kind == 1].any()


@dataclasses.dataclass(frozen=True)
class NearBoxes(Boxes):
    """The same, of which it is known how near they are."""

    name: str = "near_boxes"

    def depths(self, index: int) -> np.ndarray:
        pixels = self.rendered(index).pixels
        return np.where((pixels == pixels[:, :1, :1]).all(3), 0, 200).astype(np.uint8)


def test_depth_is_learned_where_it_is_known_and_nowhere_else(base, options, monkeypatch, capsys):
    monkeypatch.setitem(data.KINDS, "near_boxes", NearBoxes())
    render_pictures(NearBoxes(), 16, options.cache_dir)
    plan = dataclasses.replace(adapter_plan(base, ("depth", "palette")), pictures="near_boxes")
    options = dataclasses.replace(options, max_steps=2)
    stage = load_stage(base)
    task = task_of(plan, stage, options)
    x_0, text, told = task._batch(torch.Generator().manual_seed(0))
    given = task._given(x_0, text, told, torch.Generator().manual_seed(0))
    depths = task.depths.of(task.indices)
    for hint, depth in zip(given.picture[given.kind == 0], depths[given.kind == 0], strict=True):
        inside = torch.nn.functional.avg_pool2d(depth[None], 5, stride=1)[0]  # a hint may be soft at borders
        assert (hint[0, 2:-2, 2:-2][inside > 0.78] > 0.5).all() and (hint[0, 2:-2, 2:-2][inside == 0] < -0.5).all()
    learned = train(start_adapter(plan, stage, options), task, options, optim=plan.optim, config=plan.loop)
    assert set(task.preview(learned.model).figures) == {"depth_ground_iou", "palette_palette_error"}
    file = options.state_dir / "depth.safetensors"
    save_adapter(file, learned.model, AdapterSpec.of(learned.model, stage))
    asked = {"pictures": "near_boxes", "count": 2, "settings": SamplingSettings(steps=1)}
    figures = evaluate_control(base, file, options.models_dir, options.cache_dir, **asked)
    assert figures["depth"]["renders"]["ground_iou"]["mean"] == 1.0
    unknown = dataclasses.replace(plan, pictures="boxes")
    with pytest.raises(
        ValueError, match="of boxes it is not known how near what they show is, .* such as things64_wide"
    ):
        task_of(unknown, stage, options)


def test_wrong_hints_are_named(models):
    with pytest.raises(ValueError, match="no hint is called depht: expected some of depth, edges"):
        control_plan(models / "base64.safetensors", ("edges", "depht"))
    with pytest.raises(ValueError, match="each once"):
        control_plan(models / "base64.safetensors", ("edges", "edges"))


def test_what_follows_a_hint_is_measured():
    picture = torch.full((1, 3, 32, 32), -1.0)
    picture[..., 8:24, 8:24] = 1.0
    lines = Edges().found(picture)
    assert edge_f1(picture, lines).item() == 1.0
    assert edge_f1(picture.roll(1, 3), lines).item() == 1.0  # within a pixel
    assert edge_f1(picture.roll((4, 4), (2, 3)), lines).item() < 0.6
    assert edge_f1(torch.zeros_like(picture), lines).item() == 0.0
    assert ground_iou(picture, picture).item() == 1.0
    assert ground_iou(picture.roll(8, 3), picture).item() == pytest.approx(1 / 3, abs=0.05)
    assert ground_iou(torch.zeros_like(picture), picture).item() == 0.0
    assert palette_error(picture, picture).item() == 0.0
    assert palette_error(-torch.ones_like(picture), torch.ones_like(picture)).item() == 1.0


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.57])
@pytest.mark.parametrize("moved", [0.0, 0.3, 1.4])
def test_how_far_an_edge_lies_off_is_read_between_pixels(angle, moved):
    """A soft edge at a place of its own, moved at right angles to itself."""

    def edge(offset):
        row, column = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
        along = (row - 24.2) * np.sin(angle) + (column - 24.2) * np.cos(angle) - offset
        return torch.tanh(along / 1.2).expand(1, 3, -1, -1)

    assert edge_offset(edge(moved), edge(0.0)).item() == pytest.approx(moved, abs=0.03)
    assert edge_offset(torch.zeros(1, 3, 48, 48), torch.zeros(1, 3, 48, 48)).item() == 0.0


def test_a_control_of_a_stage_that_enlarges_is_measured_in_parts_of_a_pixel(models, options, capsys):
    base = models / "sr256.safetensors"
    stage = load_stage(base)
    network = start_adapter(adapter_plan(base, ("edges", "tile")), stage, options)
    file = options.state_dir / "control.safetensors"
    save_adapter(file, network, AdapterSpec.of(network, stage))
    told = {"pictures": "boxes", "count": 2, "settings": SamplingSettings(steps=1)}
    figures = evaluate_control(base, file, options.models_dir, options.cache_dir, **told)
    edges = figures["edges"]
    assert list(edges) == ["none", "0.5", "1", "renders", "wrong hint"] and edges["none"] == edges["1"]
    assert edges["renders"]["edge_offset"]["mean"] == 0.0 < edges["none"]["edge_offset"]["mean"]
    assert edges["wrong hint"]["edge_offset"]["mean"] > edges["1"]["edge_offset"]["mean"]
    with pytest.raises(ValueError, match="enlarges: controls are measured on stages that draw, or read no text"):
        evaluate_control(base, file, options.models_dir, options.cache_dir, **told, nearest=2)
    assert held_out_of(stage.spec) == "things256_held_out"
    with pytest.raises(ValueError, match="no pictures are held out for a sr2048 stage: name some with --pictures"):
        held_out_of(dataclasses.replace(stage.spec, stage="sr2048"))


def test_an_image_prompt_is_measured_without_words_too(base, options):
    stage = load_stage(base)
    network = start_adapter(image_prompt_plan(base), stage, options)
    file = options.state_dir / "prompt.safetensors"
    save_adapter(file, network, AdapterSpec.of(network, stage))
    figures = evaluate_control(
        base, file, options.models_dir, options.cache_dir, pictures="boxes", count=2, settings=SamplingSettings(steps=1)
    )
    rows = figures["picture"]
    assert list(rows) == ["none", "0.5", "1", "renders", "wrong hint", "without words"]
    assert rows["renders"]["palette_error"]["mean"] == 0.0 and rows["none"] == rows["1"]
    with pytest.raises(ValueError, match="boxes are not pictures of named things: leave out --nearest"):
        evaluate_control(base, file, options.models_dir, options.cache_dir, pictures="boxes", nearest=2)


def test_one_command_says_how_well_it_follows(base, options, capsys):
    stage, plan = load_stage(base), adapter_plan(base, ("edges", "palette"))
    network = start_adapter(plan, stage, options)
    file = options.state_dir / "control.safetensors"
    save_adapter(file, network, AdapterSpec.of(network, stage))
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    told = ["--base", str(base), "--control", str(file), "--models-dir", str(options.models_dir), "--pictures", "boxes"]
    args = parser.parse_args(
        ["evaluate", "control", *told, "--cache-dir", str(options.cache_dir), "--count", "2", "--steps", "1"]
    )
    assert args.handler(args) == 0
    figures = json.loads(capsys.readouterr().out)
    edges, palette = figures["edges"], figures["palette"]
    assert list(edges) == ["none", "0.5", "1", "renders", "wrong hint"]
    assert edges["renders"]["edge_f1"]["mean"] == 1.0 and palette["renders"]["palette_error"]["mean"] == 0.0
    # An untrained control changes nothing, whatever its strength.
    assert edges["none"] == edges["1"] == edges["0.5"] and palette["none"] == palette["1"]
    assert set(figures["edges and palette"]["1"]) == {"edge_f1", "edge_offset", "palette_error"}
    assert figures["asked"]["count"] == 2


WAYS = {"things": "3 3 3 4 3 3", "colors": "1 1 1 1 -1 1", "styles": "0 1 0 0 0 0", "counts": "1 1 1 1 1 3"}


@pytest.fixture
def known(tmp_path):
    """Six drawings whose labels are known: of a thing and colour there are three single ones, and one of three."""
    kind = dataclasses.replace(data.KINDS["things64_wide"], name="known", chunk=6)
    thing, color, style, count = ([int(n) for n in each.split()] for each in WAYS.values())
    labels = {"thing": thing, "color": color, "style": style, "count": count, "thing_2": [-1] * 6}
    labels |= {"layout": [0, 0, 0, 0, 0, 1], "backdrop": list(range(6))}
    (tmp_path / "known").mkdir()
    np.save(tmp_path / "known" / "00000.npy", np.zeros((6, 8, 8, 3), np.uint8))
    about = {"captions": [f"picture {i}" for i in range(6)], "labels": labels}
    (tmp_path / "known" / "00000.json").write_text(json.dumps(about))
    return data.PictureCache(tmp_path, kind)


def test_a_reference_is_another_picture_of_the_same_thing_and_words_say_the_rest(known):
    companions = Companions.of(known)
    cases = companions.drawn(600, torch.Generator().manual_seed(0))
    assert {case.picture for case in cases} == set(range(6))
    themselves = [case for case in cases if case.picture == case.reference and not case.captioned]
    assert {case.words for case in themselves if case.words in (None, "")} == {None, ""}
    for case in cases:
        if case.picture != case.reference:
            assert case.reference in {0, 1, 2} and case.picture in {0, 1, 2, 5}  # one alone, of thing 3 in colour 1
            assert case.captioned or BACKDROPS[case.picture] in case.words.replace("grey", "gray")
        if case.picture == 5 and case.words:
            assert any(word in case.words for word in ("three of them", "3 of them"))
    unsaid = [
        c for c in cases if c.words and c.picture == 0 and not any(w in c.words.lower() for w in ("3d", "render"))
    ]
    assert {case.reference for case in unsaid} == {2}  # in the same style, where words leave it open
    assert {case.reference for case in cases if case.words and case.picture == 0} == {1, 2}
    assert any(case.captioned for case in cases)


def test_rows_are_captions_words_or_nothing():
    cases = [Case(4, 1, captioned=True), Case(2, 2), Case(2, 2, ""), Case(3, 1, "in the snow")]
    told = lambda texts: [torch.full((len(text) + 1, 2), 1.0) for text in texts]
    rows = rows_of(cases, 2, lambda i: torch.full((3, 2), float(i)), told)
    assert [row.shape for row in rows] == [(3, 2), (1, 2), (1, 2), (12, 2)]
    assert [row[0, 0].item() for row in rows] == [4.0, 0.0, 1.0, 1.0]


def clip_file(folder):
    """A CLIP's vision tower of random weights in one file."""
    network = ClipNetwork(
        ClipConfig(vision=VisionConfig(width=64, layers=1, heads=1, mlp=32, side=32, patch=8), vision_embed_dim=16)
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_file(network.state_dict(), folder / "clip.safetensors")
    return folder / "clip.safetensors", network


def test_an_image_prompt_sees_as_a_clip_and_leaves_it_as_it_is(base, options, known, monkeypatch):
    """By one command, on pictures whose labels are known; what goes beside the time is taught by captions."""
    file, clip = clip_file(options.state_dir)
    monkeypatch.setitem(data.KINDS, "known", known.kind)
    shutil.copytree(known.folder, options.cache_dir / "known")
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    out = options.state_dir / "models"
    (out / "text_encoder").parent.mkdir()
    (out / "text_encoder").symlink_to(options.models_dir / "text_encoder")
    where = ["--state-dir", str(options.state_dir), "--cache-dir", str(options.cache_dir), "--models-dir", str(out)]
    told = ["--base", str(base), "--pictures", "known", "--clip", str(file), "--max-steps", "3", "--batch-size", "6"]
    args = parser.parse_args(["train", "image_prompt", *told, *where, "--preview-minutes", "inf"])
    assert args.handler(args) == 0
    loaded = load_adapter(out / "image_prompt.safetensors")
    assert loaded.spec.name == "clip_prompt" and loaded.spec.training["clip"] == "clip.safetensors"
    kept = loaded.network.tower.state_dict()
    for name, weight in clip.vision_model.state_dict().items():
        assert torch.equal(kept[name], weight.half().float()), name
    assert loaded.network.vector.out_layer.weight.abs().max() > 0
