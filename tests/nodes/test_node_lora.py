"""Does a LoRA go from pictures to a file to a stage by way of the nodes, and does a stopped run write nothing?"""

import sys

import pytest
import torch
from pack import CORE, NODES
from tiny_stages import TEXT_DIM, tiny_prompt, tiny_stage


class Encoder:
    """What the node asks of an encoder, answered without weights: a token a word."""

    reopen = None

    def padding(self, choice="auto"):
        return None

    def encode(self, texts, pad_to=None):
        rows = torch.tensor([[float(len(word)) for word in text.split()] for text in texts])
        embeds = rows[..., None].expand(-1, -1, TEXT_DIM).sin()
        return CORE.TextEmbeds(embeds=embeds, mask=torch.ones(embeds.shape[:2], dtype=torch.bool))


GIVEN = {"captions": "a red square", "name": "mine", "steps": 3, "rank": 2, "learning_rate": 0.02, "seed": 1}
SMALL = {"batch_size": 2, "side": 16}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of models."""
    files = sys.modules[f"{NODES['ImagenTrainLoRA'].__module__.rpartition('.')[0]}._host.files"]
    monkeypatch.setattr(files, "model_folders", lambda *kinds: [tmp_path])
    return tmp_path


def train(stage, **changes):
    images = torch.rand(2, 20, 24, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():  # as hosts run nodes
        return NODES["ImagenTrainLoRA"]().train(stage, Encoder(), images, **{**GIVEN, **SMALL, **changes})


def test_what_was_trained_is_saved_listed_and_loaded_to_the_same_pictures(folder):
    stage = tiny_stage("base64")
    trained, name = train(stage)
    assert name == "mine.safetensors" and train(stage)[1] == "mine_2.safetensors"  # nothing is overwritten
    (names, _) = NODES["ImagenLoadLoRA"].INPUT_TYPES()["required"]["lora_name"]
    assert sorted(names) == ["loras/mine.safetensors", "loras/mine_2.safetensors"]
    before = NODES["ImagenLoadLoRA"].IS_CHANGED(lora_name=names[0])
    (loaded,) = NODES["ImagenLoadLoRA"]().load(stage, sorted(names)[0], 1.0)
    (none,) = NODES["ImagenLoadLoRA"]().load(stage, sorted(names)[0], 0.0)
    assert before == NODES["ImagenLoadLoRA"].IS_CHANGED(lora_name=names[0])
    settings = {"seed": 3, "steps": 2, "guidance_scale": 2.0, "sampler": "dpmpp_2m", "width": 16, "height": 16}
    plain, off, one, other = (
        NODES["ImagenBaseSample64"]().sample(each, tiny_prompt(), batch_size=1, **settings)[0]
        for each in (stage, none, trained, loaded)
    )
    assert torch.equal(plain, off) and (one - plain).abs().max() > 1e-3
    torch.testing.assert_close(one, other, rtol=0, atol=5e-3)  # the file keeps half precision


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"captions": "one\ntwo\nthree"}, "3 captions for 2 pictures"),
        ({"class_prompts": "a fox\n\na tree", "class_images": 1}, "1 class pictures for 2 class prompts"),
        ({"name": "../mine"}, "no name for a file"),
        ({"name": ".hidden"}, "no name for a file"),
    ],
)
def test_wrong_input_is_named_before_anything_is_learned(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        train(tiny_stage("base64"), **changes)
    assert not list(folder.rglob("*.safetensors"))


def test_class_prompts_are_drawn_first_and_learned_beside_the_pictures(folder):
    stage = tiny_stage("base64")
    plain, kept = (train(stage, class_prompts=lines, class_images=2)[0] for lines in ("", "a fox\n a tree \n"))
    weights = [trained.unet.state_dict() for trained in (stage, plain, kept)]
    assert any(not torch.equal(weights[1][name], weights[2][name]) for name in weights[0])
    recorded = [CORE.read_lora(folder / "loras" / name).training for name in ("mine.safetensors", "mine_2.safetensors")]
    assert [each["class_pictures"] for each in recorded] == [0, 2]


def test_stopped_it_writes_nothing(folder, monkeypatch):
    progress = sys.modules[f"{NODES['ImagenTrainLoRA'].__module__.rpartition('.')[0]}._host.progress"]
    calls = []

    def stop():
        calls.append(None)
        if len(calls) == 3:  # at the start, after the first step, after the second
            raise InterruptedError

    monkeypatch.setattr(progress, "throw_if_interrupted", stop)
    with pytest.raises(InterruptedError):
        train(tiny_stage("base64"))
    assert len(calls) == 3 and not list(folder.rglob("*.safetensors"))
