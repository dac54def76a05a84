"""Do the CLIP nodes load, rank and guide, with a tiny random CLIP from its files?"""

import importlib
import json

import pytest
import torch
from pack import CORE, NODES
from safetensors.torch import save_file
from tiny_stages import tiny_prompt, tiny_stage

from imagen_host import runtime

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def clip(tmp_path):
    """By way of Imagen Load CLIP, from a single file and its vocabulary."""
    config, network = (importlib.import_module(f"{CORE.__name__}.clip.{name}") for name in ("config", "network"))
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tower = {"width": 64, "layers": 2, "heads": 1, "mlp": 32}
    text = config.TextConfig(**tower, vocab_size=len(pieces), positions=16, end=len(pieces) - 1)
    vision = config.VisionConfig(**tower, side=16, patch=8)
    torch.manual_seed(0)
    made = network.ClipNetwork(config.ClipConfig(text=text, vision=vision, text_embed_dim=8, vision_embed_dim=8))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    save_file(made.state_dict(), tmp_path / "tiny.safetensors")
    (tmp_path / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with runtime.use(runtime.Runtime(model_directories=[tmp_path])):
        node = NODES["ImagenLoadCLIP"]
        assert "tiny.safetensors" in node.INPUT_TYPES()["required"]["clip"][0]
        return node().load("tiny.safetensors")[0]


def score(clip, image, **given):
    return NODES["ImagenCLIPScore"]().score(clip, image, **{"text": "a red fox", "keep": 0, **given})


def test_the_best_are_handed_on_first_with_where_they_stood(clip):
    batch = torch.rand(5, 20, 16, 3)
    image, scores, probabilities, order = score(clip, batch)
    assert sorted(order) == list(range(5)) and scores == sorted(scores, reverse=True) and probabilities == [1.0] * 5
    assert torch.equal(image, batch[order])
    two, *_ = score(clip, batch, keep=2)
    assert torch.equal(two, image[:2])
    _, _, likely, _ = score(clip, batch, against="a blue fox\n\nnothing\n")
    assert likely == sorted(likely, reverse=True) and 0.0 < likely[0] < 1.0


def test_guidance_joins_another_and_pulls_towards_the_text(clip):
    make = NODES["ImagenCLIPGuidance"]().make
    stage, text = tiny_stage("base64"), tiny_prompt()
    settings = {"seed": 3, "steps": 3, "guidance_scale": 1.0, "sampler": "dpmpp_2m", "width": 16, "height": 16}

    def drawn(scale):
        (guidance,) = make(clip, "a red fox", scale, 0.0, 1.0)
        draw = NODES["ImagenBaseSample64"]().sample
        return draw(stage, text, batch_size=2, guidance=guidance, **settings)[0]

    plain, pulled = drawn(0.0), drawn(20.0)
    assert sum(score(clip, pulled)[1]) > sum(score(clip, plain)[1])
    chosen = CORE.make_guidance("apg", scale=1.0)
    (both,) = make(clip, "a red fox", 2.0, 0.1, 0.9, guidance=chosen)
    assert both[0] == chosen and (both[1].scale, both[1].start, both[1].end) == (2.0, 0.1, 0.9)
