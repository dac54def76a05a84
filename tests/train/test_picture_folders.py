"""Are folders of pictures measured in any features: distances, CLIP scores, and both against guidance?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from imagen_core import load_clip
from imagen_core.text.tokenizer import load_tokenizer
from imagen_train import cli
from imagen_train.classifier import FILE, load_classifier
from imagen_train.curve import Spot, curve_svg
from imagen_train.mini_clip import clip_config, fresh_network, save_clip, tokenizer_json
from imagen_train.picture_folders import clip_score, distance, features_of


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A CLIP with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    save_clip(fresh_network(clip_config(load_tokenizer(folder).size)), folder, {})
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Six coloured pictures of 40 x 64, five of them with captions, and one that is broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, color in enumerate(("red", "green", "blue", "black", "white", "yellow")):
        Image.new("RGB", (40, 64), color).save(folder / f"{i}.png")
        if i < 5:
            (folder / f"{i}.txt").write_text(f"a {color} square")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:40])
    return folder


def test_stored_features_have_the_distance_of_their_gaussians(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    a = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(a.T.cov())).T  # exactly of mean 0, covariance 1
    save_file({"mine": a}, tmp_path / "a.safetensors")
    save_file({"x": 3 * a + torch.tensor([1.0, 2.0])}, tmp_path / "b.safetensors")
    assert cli.main(["evaluate", "distance", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["frechet"] == pytest.approx(1 + 4 + 2 * (3 - 1) ** 2, rel=1e-4)
    assert (figures["drawn"], figures["dimensions"]) == (4000, 2) and "note" not in figures


def test_a_folder_has_the_features_of_its_pictures(clip, pictures, models):
    seen = features_of(pictures, clip)
    assert seen.shape[0] == 6  # the broken one is left out
    first = torch.from_numpy(np.array(Image.open(pictures / "0.png"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    torch.testing.assert_close(seen[:1], load_clip(clip).embed_pixels(first))
    judged = features_of(pictures, models / FILE)
    torch.testing.assert_close(
        judged[:1], load_classifier(models / FILE).features(torch.ones(1, 3, 64, 64) * first.mean((2, 3), True))
    )
    figures = distance(pictures, pictures, clip)
    assert figures["frechet"] == pytest.approx(0, abs=1e-4) and "6 pictures for" in figures["note"]


def test_clip_score_is_the_mean_cosine_of_pictures_with_captions(clip, pictures, capsys):
    assert cli.main(["evaluate", "clip", str(pictures), "--clip", str(clip)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["pictures"], figures["without_caption"], figures["cannot_be_read"]) == (5, 1, 1)
    loaded = load_clip(clip)
    names = ("red", "green", "blue", "black", "white")
    texts = loaded.embed_texts([f"a {name} square" for name in names])
    cosines = (features_of(pictures, clip)[:5] * texts).sum(1).double()
    assert figures["cosine"]["mean"] == pytest.approx(cosines.mean().item(), abs=1e-5)
    assert figures["cosine"]["se"] == pytest.approx(cosines.std().item() / 5**0.5, abs=1e-6)
    assert figures["clipscore"]["mean"] == pytest.approx(2.5 * cosines.clamp_min(0).mean().item(), abs=1e-5)
    assert next(iter(figures["least_fitting"])) == f"{cosines.argmin().item()}.png"


def test_what_cannot_be_measured_is_said(clip, pictures, models, tmp_path):
    save_file({"a": torch.zeros(3, 2), "b": torch.zeros(1)}, tmp_path / "two.safetensors")
    save_file({"a": torch.full((3, 2), float("nan"))}, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match="holds 2 tensors: one matrix is expected"):
        features_of(tmp_path / "two.safetensors", None)
    with pytest.raises(ValueError, match="NaN or infinite"):
        features_of(tmp_path / "nan.safetensors", None)
    with pytest.raises(ValueError, match="there is no file"):
        features_of(tmp_path / "gone.safetensors", None)
    with pytest.raises(ValueError, match="by --features"):
        features_of(pictures, None)
    with pytest.raises(ValueError, match="has no features: name a CLIP"):
        features_of(pictures, models / "base64.safetensors")
    with pytest.raises(ValueError, match="there are no pictures at"):
        features_of(tmp_path / "nowhere", clip)
    (tmp_path / "one").mkdir()
    shutil.copy(pictures / "5.png", tmp_path / "one")
    with pytest.raises(ValueError, match="a distance takes two or more"):
        features_of(tmp_path / "one", clip)
    with pytest.raises(ValueError, match="no picture of .* has a caption"):
        clip_score(tmp_path / "one", clip)


def test_a_sweep_draws_every_scale_from_the_same_seeds_and_plots_it(clip, pictures, models, lively, tmp_path):
    (tmp_path / "asked.csv").write_text("prompt\na red star\na blue ring\n")
    out = tmp_path / "sweep.svg"
    command = ["evaluate", "sweep", str(tmp_path / "asked.csv"), "--model", str(lively)]
    command += ["--side", "16", "--steps", "2", "--models-dir", str(models), "--out", str(out)]
    measured = ["--scales", "4", "1", "--clip", str(clip), "--reference", str(pictures)]
    assert cli.main([*command, *measured]) == 0
    rows = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["guidance_scale"] for row in rows] == [1.0, 4.0] and {"clip", "clip_se", "frechet"} < rows[0].keys()
    assert all(abs(rows[0][name] - rows[1][name]) > 1e-4 for name in ("clip", "frechet"))
    drawn = [text.text for text in ElementTree.fromstring(out.read_text()).findall(".//{*}text")]
    assert drawn[-2:] == ["1", "4"] and "CLIP score (cosine)" in drawn
    assert cli.main([*command, "--scales", "1", "--clip", str(clip)]) == 0
    again = json.loads((tmp_path / "sweep.json").read_text())
    assert again[0]["clip"] == pytest.approx(rows[0]["clip"], abs=1e-6) and "frechet" not in again[0]
    for options, message in (
        (["--scales", "1"], "nothing would be measured"),
        (["--reference", str(pictures)], "--reference asks for --features"),
        (["--scales", "0.5", "--clip", str(clip)], "name some of 1"),
    ):
        with pytest.raises(ValueError, match=message):
            cli.main([*command, *options])


def test_a_curve_goes_through_its_points_and_marks_no_text():
    svg = curve_svg([Spot(0.0, 1.0, "<a>"), Spot(1.0, 3.0), Spot(2.0, 2.0, "c")], across="x & y", up="z")
    drawn = ElementTree.fromstring(svg)
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in drawn.findall(".//{*}circle")]
    assert circles[1][0] - circles[0][0] == pytest.approx(circles[2][0] - circles[1][0], abs=0.2)
    assert circles[0][1] - circles[1][1] == pytest.approx(2 * (circles[0][1] - circles[2][1]), abs=0.3)
    assert {"<a>", "x & y"} <= {text.text for text in drawn.findall(".//{*}text")}
    ElementTree.fromstring(curve_svg([Spot(1.0, 0.0)], across="x", up="y"))  # one point has axes, too
    with pytest.raises(ValueError, match="no points"):
        curve_svg([], across="x", up="y")
