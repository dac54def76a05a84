"""Do the shipped GLIDE graphs draw, once files of the published layout lie where a user would put them?

Tiny ones with random weights and the shipped vocabulary: what is asked here is the way from graph to picture;
test_glide.py asks for the pixels.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "core"))

from clip_files import save_clip  # noqa: E402

from imagen_core import resize  # noqa: E402
from imagen_core.checkpoints.glide_keys import key_table  # noqa: E402
from imagen_core.unets import ADM, ADMConfig  # noqa: E402
from imagen_host.cli import main  # noqa: E402

CONFIG = ADMConfig(
    channels=(32, 64),
    num_res_blocks=(1, 1),
    attention=(False, True),
    text_embed_dim=1,
    text_width=32,
    text_tokens=16,
    text_mask=False,
    text_norm=None,
    text_pooling="last",
    text_vocab=50257,
    text_layers=1,
    text_heads=2,
)
FILES = {
    "base": ((), "64", "squaredcos_cap_v2"),
    "upsample": (("low_res",), "256", "linear"),
    "base_inpaint": (("known", "mask"), "64", "squaredcos_cap_v2"),
    "upsample_inpaint": (("known", "mask", "low_res"), "256", "linear"),
}
WAYS = ("neither", "classifier-free", "CLIP", "both")
LOUD = ("token_embedding", "transformer", "final_ln")  # so that words change the picture
QUICK = ["Base.width=16", "Base.height=16", "Base.steps=3", "Upsampler.steps=2", "Upsampler.spacing=uniform"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "glide"
    folder.mkdir()
    torch.manual_seed(0)
    for name, (pixels, side, schedule) in FILES.items():
        with torch.device("meta"):
            entries = key_table(ADM(replace(CONFIG, pixels=pixels))).values()
        shapes = {key: shape for entry in entries for key, shape in entry.parts.items()}
        weights = {key: (1.0 if key.startswith(LOUD) else 0.1) * torch.randn(shape) for key, shape in shapes.items()}
        flags = {"image_size": side, "noise_schedule": schedule, "xf_heads": "2"}
        save_file(weights, folder / f"{name}.safetensors", metadata=flags)
    return folder.parent


def run(name, models, folder, monkeypatch, capsys, *changes):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IMAGEN_MODELS", str(models))
    told = [part for change in changes for part in ("--set", change)]
    code = main(["run", name, *told, "--out", ".", "--json", "--quiet"])
    report, said = capsys.readouterr()
    assert code == 0, said
    return [Image.open(path).convert("RGB") for path in json.loads(report)["images"]]


def test_words_change_the_picture(models, tmp_path, monkeypatch, capsys):
    pictures = [
        run("glide_256", models, tmp_path, monkeypatch, capsys, *QUICK, f"Prompt.text={text}")[0]
        for text in ("a fox", "A Fox", "tea")
    ]
    assert pictures[0].size == (64, 64)
    fox, again, tea = (np.asarray(picture).astype(int) for picture in pictures)
    assert (fox == again).all() and abs(fox - tea).max() > 2


def test_what_the_mask_leaves_stays(models, tmp_path, monkeypatch, capsys):
    (drawn,) = run("glide_inpaint", models, tmp_path, monkeypatch, capsys, *QUICK)
    photo = torch.from_numpy(np.array(Image.open(ROOT / "input" / "example_inpaint.png"))).movedim(-1, 0)[None].float()
    expected = resize(photo, (64, 64))[0]
    kept = expected[3] == 255
    kept[8:56, 8:56] = False  # the hole, in the middle, and about it a ring in which the mask is grey
    error = (torch.from_numpy(np.array(drawn)).movedim(-1, 0) - expected[:3]).abs()
    assert kept.float().mean() > 0.3 and error[:, kept].max() <= 1
    assert error[:, 24:40, 24:40].mean() > 10


def test_each_guidance_draws_another_picture_from_one_seed(models, tmp_path, monkeypatch, capsys):
    save_clip(models / "clip-vit-large-patch14", pytest.importorskip("transformers"))
    small = [f"Base, {way}.{change}" for way in WAYS for change in ("width=16", "height=16", "steps=4")]
    pictures = run("glide_guidance_compared", models, tmp_path, monkeypatch, capsys, *small)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures) == len(WAYS)


@pytest.mark.parametrize("name, files", [("glide_256", ("base", "upsample")), ("glide_inpaint", tuple(FILES)[2:])])
def test_a_graph_whose_weights_are_not_here_names_node_and_file(name, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", name]) == 2
    lines = capsys.readouterr().err.splitlines()
    for title, file in zip(("Load base", "Load upsampler"), files, strict=True):
        assert any(title in line and f"glide/{file}.safetensors" in line for line in lines)
