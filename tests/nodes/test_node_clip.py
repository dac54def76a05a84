"""Do the CLIP nodes load, rank and guide, with a tiny random CLIP from its files?"""

import pytest
import tiny_clip
import torch
from pack import CORE, NODES
from tiny_stages import tiny_prompt, tiny_stage

from imagen_host import runtime


@pytest.fixture
def clip(tmp_path):
    """By way of Imagen Load CLIP, from a single file and its vocabulary."""
    tiny_clip.written(tmp_path)
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
