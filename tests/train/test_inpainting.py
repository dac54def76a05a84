"""Does a network that repaints begin as its base, see what sampling shows it, learn in holes alone, and keep the rest?

It learns, and is kept, as a change of that base.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from imagen_core import Draw, InitImage, Prompt, TextEmbeds, load_stage, read_spec, sample_base
from imagen_core.checkpoints.readers.change import read_change
from imagen_core.conditioning import Signals
from imagen_core.unets import UViTConfig, build_unet
from imagen_train import data
from imagen_train.changes import changed_layers
from imagen_train.data import Rendered, render_pictures
from imagen_train.evaluate_inpaint import HOLES, seam
from imagen_train.inpainting import InpaintTask, random_holes, seen, with_wider_stems
from imagen_train.options import TrainOptions
from imagen_train.plans import inpaint_plan
from imagen_train.stages import export_saved, start_change, task_of, train_stage

TINY = {"patch_size": 4, "channels": 16, "width": 32, "depth": 2, "per_head_channels": 16, "text_embed_dim": 32}
TINY |= {"fine_channels": 8, "fine_blocks": 1}


@dataclasses.dataclass(frozen=True)
class Plain:
    """Two captioned pictures."""

    name: str = "plain"
    side: int = 32
    window: None = None
    chunk: int = 2
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        pixels = np.random.default_rng(index).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        return Rendered(pixels, ["a dot", "two dots"], {})


def network(**settings):
    torch.manual_seed(1)
    made = build_unet(UViTConfig(**TINY, **settings))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def told(model):
    return model.encode_text(TextEmbeds(embeds=torch.ones(2, 3, 32), mask=torch.ones(2, 3, dtype=torch.bool)))


def test_it_begins_as_its_base_whatever_it_is_shown():
    base, wider = network(), network(repaints=True)
    assert wider.config.inputs == ("text", "known", "mask")
    assert wider.stem.weight.shape[1] == 7 * 16 and base.stem.weight.shape[1] == 3 * 16
    weights = with_wider_stems(base.state_dict(), wider.state_dict(), wider.config)
    wider.load_state_dict(weights)
    x_t, time = torch.randn(2, 3, 32, 32), torch.tensor([300.0, 900.0])
    shown = seen(torch.rand(2, 3, 32, 32), HOLES["middle"](2, 32))
    torch.testing.assert_close(wider(x_t, time, told(wider) + shown), base(x_t, time, told(base)), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="shown known, mask beside x_t, 4 channels"):
        wider(x_t, time, told(wider))
    with pytest.raises(ValueError, match="leave out one of the two"):
        UViTConfig(**TINY, repaints=True, self_conditioning=True)


def test_holes_are_of_every_kind_and_never_nothing():
    holes = random_holes(400, 32, torch.Generator().manual_seed(0))
    share = holes.mean((1, 2, 3))
    assert holes.shape == (400, 1, 32, 32) and set(holes.unique().tolist()) == {0.0, 1.0}
    assert share.min() > 0.01 and 0.05 < (share == 1.0).float().mean() < 0.16
    assert 0.3 < share.mean() < 0.6 and (share < 0.15).any() and ((share > 0.7) & (share < 1.0)).any()


def test_a_seam_is_found_where_it_is():
    holes = HOLES["right"](2, 8)
    picture = torch.zeros(2, 3, 8, 8)
    picture[0] += 0.25 * holes[0]
    picture[1, :, 0, 1] = 1.0
    assert seam(picture, holes).tolist() == [0.25, 0.0]


@pytest.fixture
def options(models, tmp_path, monkeypatch):
    monkeypatch.setitem(data.KINDS, "plain", Plain())
    render_pictures(Plain(), 2, tmp_path / "cache")
    return TrainOptions(state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=2, export=False)


@pytest.fixture
def plan():
    plan = inpaint_plan(32)
    unet = UViTConfig(**TINY, repaints=True, pooling_queries=2)
    return dataclasses.replace(plan, pictures="plain", held_out="plain", unet=unet, batch_size=2)


def test_errors_outside_of_holes_are_none(plan, options):
    task = task_of(plan, options)
    assert isinstance(task, InpaintTask)
    x_0, noise, times = torch.rand(2, 3, 32, 32), torch.randn(2, 3, 32, 32), torch.tensor([0.3, 0.8])
    cond = task._shown_besides(None, x_0, Signals(), times, noise, torch.Generator().manual_seed(2))
    wrong = 5.0 * (1.0 - task.holes)
    assert task._loss(lambda x_t, time, told: x_0 + wrong, x_0, cond, times, noise).item() == 0.0
    assert task._loss(lambda x_t, time, told: x_0 + wrong + 0.1 * task.holes, x_0, cond, times, noise).item() > 0.0
    assert torch.equal(cond.pixels[:, :3], x_0 * (1 - task.holes)) and torch.equal(cond.pixels[:, 3:], 1 - task.holes)
    with pytest.raises(ValueError, match="predict x_0, and this one predicts v"):
        task_of(dataclasses.replace(plan, prediction_type="v"), options)


@pytest.fixture
def based(plan, options, tmp_path):
    """Options under which a plan begins from base.safetensors, exports beside it, and reads by the encoder of `models`."""
    ours = dataclasses.replace(options, models_dir=tmp_path, export=True, text_encoder=options.encoder)
    from_base = dataclasses.replace(
        plan, unet=dataclasses.replace(plan.unet, repaints=False), file="base", lora_rank=None
    )
    train_stage(from_base, dataclasses.replace(ours, state_dir=tmp_path / "a"))
    return dataclasses.replace(ours, state_dir=tmp_path / "b", from_weights=tmp_path / "base.safetensors")


def drawn_by(path):
    """A picture with a hole in its middle, filled; the picture and its mask."""
    picture, mask = torch.rand(1, 3, 32, 32) * 2 - 1, HOLES["middle"](1, 32)
    prompt = Prompt(text=TextEmbeds(embeds=torch.randn(1, 3, 32), mask=torch.ones(1, 3, dtype=torch.bool)))
    draw = Draw(seeds=(0,), steps=2, init=InitImage(pixels=picture, mask=mask))
    return sample_base(load_stage(path), prompt, draw, height=32, width=32), picture, mask


@pytest.mark.parametrize("lora_rank", [4, None])
def test_it_is_trained_from_its_base_exported_and_keeps_what_the_mask_leaves(plan, based, tmp_path, lora_rank):
    plan = dataclasses.replace(plan, lora_rank=lora_rank)
    result = train_stage(plan, based)
    assert task_of(plan, based).preview(result.model).figures.keys() == {"hole_mse", "mse_0.9", "mse_0.6", "mse_0.3"}
    path = tmp_path / "things64_inpaint.safetensors"
    assert read_spec(path).inputs == ("text", "known", "mask")
    drawn, picture, mask = drawn_by(path)
    assert torch.equal(drawn * (1 - mask), picture * (1 - mask))
    assert (drawn - picture).abs().max() > 0.1


def test_what_is_exported_is_a_change_that_draws_as_what_was_trained(plan, based, tmp_path):
    plan = dataclasses.replace(plan, lora_rank=4)
    trained = train_stage(plan, based).model
    path = tmp_path / "things64_inpaint.safetensors"
    change, merged = read_change(path), load_stage(path).unet.state_dict()
    layers = changed_layers(trained)
    assert change.base == "base.safetensors" and change.learned.factors.keys() == layers.keys() and layers
    assert {"stem.weight", "fine.stem.weight"} <= change.learned.whole.keys()
    assert change.spec.training["rank"] == 4 and change.spec.training["images"] == 8
    for name, layer in layers.items():
        assert layer.change.up.abs().max() > 0.0, name
        torch.testing.assert_close(merged[f"{name}.weight"], layer.weight, atol=1e-3, rtol=1e-2)
    assert not any("before" in key for key in trained.state_dict())
    assert path.stat().st_size < (tmp_path / "base.safetensors").stat().st_size


def test_it_begins_as_its_base_and_goes_on_from_itself(plan, based, tmp_path):
    plan = dataclasses.replace(plan, lora_rank=4)
    base = load_stage(tmp_path / "base.safetensors").unet
    network, state = start_change(plan, based)
    x_t, time = torch.randn(2, 3, 32, 32), torch.tensor([300.0, 900.0])
    shown = seen(torch.rand(2, 3, 32, 32), HOLES["middle"](2, 32))
    torch.testing.assert_close(
        network(x_t, time, told(network) + shown), base(x_t, time, told(base)), atol=1e-5, rtol=1e-5
    )
    assert state.images == 4
    whole = train_stage(plan, dataclasses.replace(based, state_dir=tmp_path / "whole", max_steps=3))
    train_stage(plan, dataclasses.replace(based, max_steps=1))
    rest = train_stage(plan, dataclasses.replace(based, max_steps=3, resume=True))
    assert rest.state.step == 3
    for key, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(rest.model.state_dict()[key], tensor, atol=1e-2, rtol=1e-2)
    path = export_saved(plan, dataclasses.replace(based, max_steps=1))
    again, state = start_change(plan, dataclasses.replace(based, from_weights=path, state_dir=tmp_path / "c"))
    up = rest.model.get_submodule("transformer.0.mlp.0").change.up
    torch.testing.assert_close(again.get_submodule("transformer.0.mlp.0").change.up, up, atol=1e-3, rtol=1e-2)
    assert state.images == rest.state.images
    with pytest.raises(ValueError, match="is of another rank, or of another network"):
        start_change(dataclasses.replace(plan, lora_rank=3), dataclasses.replace(based, from_weights=path))


def test_a_change_of_nothing_or_away_from_its_base_is_refused_before_it_is_trained(plan, based, lively, tmp_path):
    with pytest.raises(ValueError, match="a change of a stage, and none is there: name one with --from-weights"):
        train_stage(plan, dataclasses.replace(based, from_weights=None))
    with pytest.raises(ValueError, match="kept as a change of base.safetensors and read beside it, and .* has none"):
        train_stage(plan, dataclasses.replace(based, models_dir=tmp_path / "elsewhere", text_encoder=based.encoder))
    train_stage(plan, dataclasses.replace(based, max_steps=1))
    with pytest.raises(ValueError, match="holds a change of another stage than .*this run was made for"):
        train_stage(plan, dataclasses.replace(based, from_weights=lively, resume=True, export=False))
