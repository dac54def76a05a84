"""Do the paper's claims stand in docs/claims.md as they were measured, and do the claims' own parts mean what they say?"""

from __future__ import annotations

import argparse
import json
from xml.etree import ElementTree

import pytest
import torch

from benchmarks.claims import CLAIMS
from benchmarks.claims._base import Claim, grouped, measured, run
from benchmarks.claims._drawing_runs import MeanPooled, Pooled, network_of
from benchmarks.claims._page import PAGE, in_page
from benchmarks.claims._plot import Panel, panels_svg
from benchmarks.claims.augmentation import INPUTS
from benchmarks.claims.efficient_unet import NETWORKS
from benchmarks.claims.spaces import SIDE, SMALL, schedule_of, steepness, transformer
from benchmarks.claims.text_encoders import WordTable
from benchmarks.claims.thresholding import clipped, figures, saturation
from imagen_core.conditioning import TextEmbeds
from imagen_core.text.t5_config import T5Config


def test_no_figure_stands_in_the_page_that_was_not_measured():
    text = PAGE.read_text(encoding="utf-8")
    assert in_page(text) == text, "run `python -m benchmarks.claims tables`"
    assert all(f"<!-- table {name} -->" in text for name in CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_measured_claim_has_its_plot(name):
    rows, claim = measured(name)["rows"], CLAIMS[name]()
    if not rows:
        pytest.skip(f"{name} is said to be not run")
    assert (PAGE.parent / "claims" / f"{name}.svg").read_text(encoding="utf-8") == claim.plot(rows)
    assert len({tuple(row[k] for k in claim.key) for row in rows}) == len(rows), "a row twice"


class Counted(Claim):
    name, about, key = "counted", "numbers count", ("n",)

    def measured(self, options, done):
        for n in range(options.most):
            if not self.is_done(done, n=n):
                options.seen.append(n)
                yield {"n": n}

    def table(self, rows):
        return str(len(rows))

    def plot(self, rows):
        return panels_svg([Panel(up="n", across="n", lines={"n": [(row["n"], 0) for row in rows]})])


def test_a_stopped_measurement_goes_on_and_another_one_is_refused(tmp_path):
    options = argparse.Namespace(out=tmp_path, again=False, most=3, seen=[])
    run(Counted(), options)
    file = tmp_path / "counted.json"
    content = json.loads(file.read_text())
    content["rows"].pop(1)
    content["settings"]["seen"] = []
    file.write_text(json.dumps(content))
    options.seen = []
    assert [row["n"] for row in run(Counted(), options)] == [0, 2, 1]
    assert options.seen == [1]
    with pytest.raises(ValueError, match="--again"):
        run(Counted(), argparse.Namespace(out=tmp_path, again=False, most=4, seen=[]))


def test_plots_are_xml_and_nothing_draws_nothing():
    lines = {"a < b": [(0.0, 1.0), (1.0, 2.0)], "c": [(0.5, 1.5)]}
    svg = panels_svg([Panel(up="x & y", across="t", lines=lines, at=("one", "two"), dotted={"floor": 0.5})])
    root = ElementTree.fromstring(svg)
    circles = [each for each in root.iter() if each.tag.endswith("circle")]
    assert len(circles) == 3 + 2  # points, and names below
    with pytest.raises(ValueError, match="no points"):
        panels_svg([Panel(up="", across="", lines={})])


def read_by(kind, embeds):
    network = network_of(8, 32, 0, kind).eval()
    torch.nn.init.normal_(network.modulation.weight)
    text = TextEmbeds(embeds=embeds, mask=torch.ones(embeds.shape[:2], dtype=torch.bool))
    return network.encode_text(text)


def test_pooled_text_reaches_no_position_and_a_mean_knows_no_order():
    embeds = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    assert read_by(Pooled, embeds).tokens.length == 0
    assert read_by(MeanPooled, embeds).tokens.length == 0
    both = torch.cat([embeds, embeds.flip(1)])
    vectors = read_by(MeanPooled, both).vector
    torch.testing.assert_close(vectors[0], vectors[1])
    torch.testing.assert_close(read_by(MeanPooled, embeds).vector[0], vectors[0])


def test_words_only_knows_a_word_wherever_it_stands():
    config = T5Config(vocab_size=20, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2)
    (rows,) = WordTable(config)([(torch.tensor([[3, 7, 3]]), torch.ones(1, 3, dtype=torch.bool))])
    assert torch.equal(rows[0, 0], rows[0, 2]) and not torch.equal(rows[0, 0], rows[0, 1])


def test_the_three_unets_are_equally_large():
    sizes = {name: sum(p.numel() for p in make(32).parameters()) for name, make in NETWORKS.items()}
    assert max(sizes.values()) / min(sizes.values()) < 1.05, sizes


@pytest.mark.parametrize("side, channels", [(SIDE, 3), (SMALL, 3), (SIDE // 8, 4)])
def test_every_way_to_256_px_has_the_same_transformer(side, channels):
    network = transformer(side, channels, 8, 32, 0)
    parts = [name for name, _ in network.transformer.named_parameters()]
    assert len(parts) > 20 and network.multiple * 8 == side, "64 positions"
    assert sum(p.numel() for p in network.transformer.parameters()) == sum(
        p.numel() for p in transformer(SMALL, 3, 8, 32, 0).transformer.parameters()
    )


def test_a_picture_enlarged_four_times_is_as_noisy_to_the_eye():
    """The mean of 16 pixels has a sixteenth of their noise, so that much more noise is laid on each."""
    times = torch.tensor([0.3, 0.5, 0.7])
    (small_alpha, small_sigma), (alpha, sigma) = (schedule_of(side).alpha_sigma(times) for side in (SMALL, SIDE))
    torch.testing.assert_close(
        (sigma / alpha) ** 2, 16 * (small_sigma / small_alpha) ** 2, rtol=0.06, atol=0
    )  # ends differ


def test_steepness_counts_edges():
    step = torch.ones(1, 3, 8, 8)
    step[..., :4] = -1
    assert steepness(step) == pytest.approx(2 / 7 / 2) and steepness(torch.zeros(1, 3, 8, 8)) == 0


def test_what_is_said_of_colours():
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(1, 3, 16, 16)
    grey, half = torch.zeros(1, 3, 16, 16), red / 2
    assert (saturation(red), saturation(grey), saturation(half)) == (1.0, 0.0, 0.5)
    assert (clipped(red), clipped(half)) == (1.0, 0.0)
    found = figures(half, red, [0])
    assert (found["error"], found["corner"], found["thing"]) == (0.5, 0.5, 1.0)


@pytest.mark.parametrize("name", INPUTS)
def test_a_spoilt_picture_keeps_its_brightness(name):
    small = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    spoilt = INPUTS[name](small, 0)
    assert spoilt.shape == small.shape and (spoilt.mean() - small.mean()).abs() < 0.02
    assert torch.equal(spoilt, small) == (name == "clean")


def test_seeds_stand_beside_each_other():
    rows = [{"way": "a", "seed": 1}, {"way": "b", "seed": 0}, {"way": "a", "seed": 0}]
    assert [len(some) for some in grouped(rows, "way").values()] == [2, 1]
