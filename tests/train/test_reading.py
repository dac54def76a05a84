"""Does a reader of prompts learn what lies on either side, and does a base that learns it do so as its plan says?"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from imagen_core import load_text_encoder
from imagen_core.unets import build_unet
from imagen_core.unets.text_reader import TextReader
from imagen_train.data import DrawingKind, render_pictures
from imagen_train.options import TrainOptions
from imagen_train.plans import StagePlan, things64_plan
from imagen_train.reading import UNASKED, Answers, Reading
from imagen_train.stages import train_stage
from imagen_train.stickers.mixes import WIDE
from imagen_train.tasks import BaseTask

PAIRED = dataclasses.replace(WIDE, several=0.2, pair=0.6)
TINY = {"channels": 16, "width": 32, "depth": 1, "per_head_channels": 16, "pooling_queries": 2, "time_embed_dim": 32}
FINE = {"fine_channels": 8, "fine_blocks": 1, "finest_channels": 4, "finest_blocks": 1, "text_block_width": 64}


def test_answers_are_the_things_on_their_sides():
    labels = {
        **{"thing": [5, 7, 9], "thing_2": [-1, 8, 3], "relation": [-1, 0, 1]},
        **{"color": [-1, 2, 1], "color_2": [-1, -1, 4]},
    }
    no = UNASKED
    found = Answers.of(labels, [0, 1, 2], colors=14)
    assert found.things.tolist() == [[5, 5, 5, 5], [7, 8, no, no], [no, no, 9, 3]]
    assert found.colors.tolist() == [[14, 14, 14, 14], [2, 14, no, no], [no, no, 1, 4]]
    dropped = Answers.of(labels, [2, 1], colors=14, gone=torch.tensor([True, False]))
    assert dropped.things.tolist() == [[no] * 4, [7, 8, no, no]] and dropped.colors[0].tolist() == [no] * 4
    with pytest.raises(ValueError, match="no label thing_2, color, color_2, relation: set it to 0"):
        Answers.of({"thing": [1]}, [0], colors=14)


def _sentences(count: int, seed: int) -> tuple[torch.Tensor, Answers]:
    """ "A left of B" and "A right of B" in one-hot tokens (b 3 8) of six things and two words between; all one colour."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(6, (count,), generator=generator)
    second = (first + torch.randint(1, 6, (count,), generator=generator)) % 6
    swapped = torch.rand(count, generator=generator) < 0.5
    tokens = F.one_hot(torch.stack([first, 6 + swapped.long(), second], 1), 8).float()
    left, right = torch.where(swapped, second, first), torch.where(swapped, first, second)
    unasked = torch.full((count, 2), UNASKED)
    things = torch.cat([torch.stack([left, right], 1), unasked], 1)
    return F.layer_norm(tokens, (8,)), Answers(things, torch.where(things == UNASKED, UNASKED, 0))


@pytest.mark.parametrize("blocks, least, most", [(1, 0.95, 1.0), (0, 0.0, 0.75)])
def test_only_who_rereads_learns_which_thing_is_left(blocks, least, most):
    """The word between and the order decide; tokens by themselves tell nothing of it."""
    torch.manual_seed(0)
    reader, reading = TextReader(8, 64, blocks), Reading(8, things=6, colors=1)
    learned = [*reading.parameters(), *(reader.parameters() if blocks else ())]
    optimizer = torch.optim.Adam(learned, 3e-3)
    mask = torch.ones(128, 3, dtype=torch.bool)
    with reading.listening(reader):
        for step in range(250):
            tokens, answers = _sentences(128, step)
            reader(tokens, mask)
            reading.loss(answers).backward()
            optimizer.step()
            optimizer.zero_grad()
        tokens, answers = _sentences(128, 10_000)
        reader(tokens, mask)
    assert least <= reading.right(answers) <= most
    assert not reader._forward_hooks


@pytest.fixture
def plan(drawings, models) -> StagePlan:
    kind = DrawingKind(name="paired", side=64, chunk=8, mix=PAIRED)
    render_pictures(kind, 8, drawings / "cache")
    plan = things64_plan(32)
    unet = dataclasses.replace(plan.unet, **TINY, **FINE)
    return dataclasses.replace(plan, pictures=kind, held_out=kind, unet=unet, batch_size=4)


@pytest.fixture
def options(drawings, models) -> TrainOptions:
    return TrainOptions(
        state_dir=drawings / "run", cache_dir=drawings / "cache", models_dir=models, max_steps=1, export=False
    )


def test_a_base_is_asked_what_it_read_until_its_plan_says_enough(plan, options):
    task = BaseTask(plan, options, load_text_encoder(options.encoder))
    network = build_unet(plan.unet)
    whole = task.loss(network, torch.Generator().manual_seed(0), 0.0)
    whole.backward()
    assert network.text_reader.out.weight.grad.abs().max() > 0 and task.helper.thing.weight.grad.abs().max() > 0
    without = task.loss(network, torch.Generator().manual_seed(0), plan.read_until)
    asked = (whole - without).item() / plan.read_weight
    assert 3 < asked < 12  # of hundreds of things and fourteen colours nothing is known yet
    assert task.preview(network).figures["read"] < 0.5
    train_stage(plan, options)
    assert train_stage(plan, dataclasses.replace(options, resume=True, max_steps=2)).state.step == 2


def test_a_teacher_beside_it_and_pictures_without_labels_are_refused(plan, options, models, drawings):
    encoder = load_text_encoder(options.encoder)
    with pytest.raises(ValueError, match="set one of the two"):
        BaseTask(plan, dataclasses.replace(options, teacher=models / "classifier.safetensors"), encoder)
