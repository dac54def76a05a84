"""Is a batch that goes through a network in parts the batch that goes through at once, and are its bytes counted right?"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imagen_core import Draw, Signals, TextEmbeds, encode_prompt, load_stage, sample_base, super_resolve
from imagen_core.activation_memory import activation_bytes, gradient_bytes
from imagen_core.batching import InParts
from imagen_core.conditioning import part_of
from imagen_core.text.loading import load_text_encoder

ROOT = Path(__file__).resolve().parent.parent.parent
MINI = ROOT / "models" / "imagen-mini"
BOUND = 5e-4  # of pictures in [-1, 1]: a sixteenth of an 8-bit level; another batch size rounds otherwise


@pytest.fixture(scope="module")
def base():
    return load_stage(MINI / "things64.safetensors")


@pytest.fixture(scope="module")
def prompt():
    return encode_prompt(load_text_encoder(MINI / "things_text_encoder"), "a green cone on a red background")


class Forgetful(torch.nn.Module):
    """A network that has memory for `rows` pictures."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.seen = rows, []

    def forward(self, x_t, time, told):
        self.seen.append(len(x_t))
        if len(x_t) > self.rows:
            raise torch.OutOfMemoryError("no room")
        return x_t * time[:, None, None, None] + told.pixels


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_in_parts_is_the_batch_at_once(base, prompt, rows):
    drawing = Draw(seeds=range(3), steps=3)
    whole = sample_base(base, prompt, drawing)
    parts = sample_base(dataclasses.replace(base, max_rows=rows), prompt, drawing)
    assert (whole - parts).abs().max() < BOUND


def test_super_resolution_in_parts_gives_each_its_own_small_picture():
    stage = load_stage(MINI / "sr256.safetensors")
    drawing = {"prompt": None, "draw": Draw(seeds=range(3), steps=2), "aug_level": 0.2}
    small = torch.rand(3, 3, 16, 24) * 2 - 1
    parts = super_resolve(dataclasses.replace(stage, max_rows=2), small, **drawing)
    assert (super_resolve(stage, small, **drawing) - parts).abs().max() < BOUND


def test_where_memory_runs_out_parts_are_halved_until_they_fit():
    network = Forgetful(rows=3)
    x_t, time = torch.randn(10, 3, 2, 2), torch.arange(10.0)
    told = Signals(pixels=torch.randn(10, 3, 2, 2))
    runner = InParts(network)
    assert torch.equal(runner(x_t, time, told), x_t * time[:, None, None, None] + told.pixels)
    assert network.seen == [10, 5, 3, 3, 3, 1]
    runner(x_t, time, told)
    assert network.seen[6:] == [3, 3, 3, 1]  # it does not forget what fits


def test_no_room_for_a_single_picture_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        InParts(Forgetful(rows=0))(torch.randn(2, 3, 2, 2), torch.zeros(2), Signals())


def test_parts_of_no_images_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        InParts(torch.nn.Identity(), 0)


def test_a_part_is_taken_of_every_signal(base):
    text = base.unet.encode_text(
        TextEmbeds(embeds=torch.randn(4, 5, base.spec.unet_config.text_embed_dim), mask=torch.ones(4, 5).bool())
    )
    part = part_of(text + Signals(pixels=torch.randn(4, 3, 2, 2), aug_level=torch.arange(4.0)), slice(1, 3))
    assert part.aug_level.tolist() == [1.0, 2.0]
    assert {len(each) for pair in part.tokens.keys_values for each in pair} == {2}
    assert len(part.vector) == len(part.tokens.mask) == len(part.pixels) == 2


PEAK = """
import json, re, sys, torch
from imagen_core import Signals, load_stage
stage = load_stage(sys.argv[1])
def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
def run(b, side):
    x = torch.randn(b, 3, side, side)
    with torch.inference_mode():
        stage.unet(x, torch.full((b,), 500.0), Signals(pixels=x, aug_level=torch.zeros(b)))
run(1, 32)
open("/proc/self/clear_refs", "w").write("5")  # forget the peak of loading
before = memory("VmRSS")
run(8, 256)
print(json.dumps([memory("VmHWM") - before, 8 * stage.activation_bytes(256, 256)]))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak and resets it"
)
def test_counted_bytes_are_what_a_run_takes():
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(MINI / "sr256.safetensors")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    taken, counted = json.loads(done.stdout)
    assert 0.5 < counted / taken < 1.5, (counted, taken)


@torch.inference_mode()
def test_counted_bytes_grow_with_the_picture_and_shrink_with_the_dtype(base):
    config = base.spec.unet_config
    count = {
        (side, dtype): activation_bytes(config, side, side, dtype=dtype)
        for side in (64, 128)
        for dtype in (torch.float32, torch.float16)
    }
    assert 3.5 < count[128, torch.float32] / count[64, torch.float32] < 4.5
    assert 0.4 < count[64, torch.float16] / count[64, torch.float32] < 0.8


def test_what_a_gradient_holds_is_what_the_way_back_reads():
    """Three layers of 8 numbers: a tanh's output stays for its gradient, the last layer's lives beside its own tanh."""
    layers = [layer for _ in range(3) for layer in (torch.nn.Linear(8, 8), torch.nn.Tanh())]
    row = 8 * 4
    assert gradient_bytes(lambda: torch.nn.Sequential(*layers).to("meta"), (1, 8)) == (2 + 2) * row + 2 * row
    assert gradient_bytes(lambda: torch.nn.Sequential(*layers[:2]).to("meta"), (5, 8)) == 5 * (2 * row + 2 * row)
