"""Do the shipped DeepFloyd IF graphs draw, once models of the published layout lie where a user would put them?

Tiny ones with random weights: what is asked here is the way from graph to picture; test_deepfloyd_*.py ask for the pixels.
"""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "core")]

from deepfloyd_fixtures import TEXT_WIDTH, save_folder, tiny_unet  # noqa: E402
from t5_files import make_folder  # noqa: E402

from imagen_host.cli import main  # noqa: E402

# Fewer steps than shipped; padding is told, because only a T5 as wide as XXL is taken for IF's.
QUICK = ["Load T5-XXL.text_encoder=t5-tiny", "Prompt.padding=77"]
QUICK += ["Stage I.spacing=auto", "Stage I.steps=3", "Stage I.resample=1", "Stage II.spacing=auto", "Stage II.steps=1"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_folder(folder / "t5-tiny", width=TEXT_WIDTH)
    save_folder(folder / "IF-I-M-v1.0", "base64", tiny_unet("base64"))
    save_folder(folder / "IF-II-M-v1.0", "sr256", tiny_unet("sr256"))
    return folder


@pytest.mark.parametrize("name", ["deepfloyd_if_256", "deepfloyd_if_img2img", "deepfloyd_if_inpaint"])
def test_the_graph_draws(name, models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEN_MODELS", str(models))
    changes = [part for change in QUICK for part in ("--set", change)]
    code = main(["run", name, *changes, "--out", ".", "--json", "--quiet"])
    report, said = capsys.readouterr()
    assert code == 0, said
    (path,) = json.loads(report)["images"]
    assert Image.open(path).size == (256, 256)
