"""Does `imagen enlarge` go from a file to a file, row by row, and refuse in one line?"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imagen_host.cli import main
from imagen_pictures.png_rows import PngRows


@pytest.mark.parametrize("parts", [(7,), (1, 4, 2)])
def test_rows_make_the_png_that_others_read(parts):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    rows, start = PngRows(file, 5, 7), 0
    for count in parts:
        rows.write(pixels[start : start + count])
        start += count
    rows.close()
    read = Image.open(file, formats=["PNG"])
    assert (read.mode, read.size) == ("RGB", (5, 7)) and np.array_equal(np.array(read), pixels)
    with pytest.raises(ValueError, match="7 rows are missing"):
        PngRows(io.BytesIO(), 5, 7).close()


def test_a_picture_becomes_four_times_as_large(tmp_path, capsys):
    y = np.linspace(0, 255, 40, dtype=np.uint8)
    Image.fromarray(np.stack([np.broadcast_to(y[:, None], (40, 24))] * 3, -1)).save(tmp_path / "übung 1.png")
    asked = [str(tmp_path / "übung 1.png"), str(tmp_path / "large.png"), "--tile-size", "64", "--overlap", "32"]
    assert main(["enlarge", *asked, "--steps", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "large.png")
    drawn = np.array(Image.open(tmp_path / "large.png")).astype(float)
    assert drawn.shape == (160, 96, 3)
    shrunk = drawn.reshape(40, 4, 24, 4, 3).mean((1, 3, 4))
    assert np.abs(shrunk - y[:, None]).mean() < 8  # still the same picture


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"out": "large.jpg"}, "name a .png"),
        ({"out": "nowhere/large.png"}, "name a .png in a folder that is there"),
        ({"picture": "gone.png"}, "gone.png"),
        ({"more": ["--checkpoint", "gone.safetensors"]}, "there is no checkpoint"),
        ({"more": ["--tile-size", "100"]}, "multiples of 32"),
        ({"more": ["--steps", "0"]}, "at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(changes, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("small.png")
    asked = [changes.get("picture", "small.png"), changes.get("out", "large.png"), *changes.get("more", [])]
    assert main(["enlarge", *asked]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]
