"""Does imagen-mini's CLIP learn which caption belongs to which picture, and is its folder a CLIP for everybody?"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from imagen_core import find_clips, load_clip
from imagen_core.clip.model import Clip
from imagen_core.text.tokenizer import load_tokenizer
from imagen_train import mini_clip
from imagen_train.data import KINDS, PictureCache, PictureKind, render_pictures
from imagen_train.mini_clip import (
    Captioned,
    ClipTask,
    clip_config,
    clip_figures,
    fresh_network,
    train_clip,
    with_colors_swapped,
)
from imagen_train.options import TrainOptions

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "imagen-mini" / "text_encoder"


@pytest.fixture
def options(tmp_path, monkeypatch) -> TrainOptions:
    """A run of one step on eight pictures, with imagen-mini's tokenizer."""
    for name in ("base64", "base64_held_out"):
        kind = PictureKind(name=name, side=64, chunk=8, held_out=name.endswith("held_out"))
        monkeypatch.setitem(KINDS, name, kind)
        render_pictures(kind, 8, tmp_path / "cache")
    (tmp_path / "models" / "text_encoder").mkdir(parents=True)
    shutil.copy(SHIPPED / "tokenizer.json", tmp_path / "models" / "text_encoder")
    return TrainOptions(
        state_dir=tmp_path / "state",
        cache_dir=tmp_path / "cache",
        models_dir=tmp_path / "models",
        max_steps=1,
        batch_size=8,
        preview_minutes=float("inf"),
    )


def task_of(options) -> ClipTask:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(SHIPPED)
    clip = Clip(fresh_network(clip_config(tokenizer.size)), tokenizer)
    data = Captioned.of(PictureCache(options.cache_dir, "base64"), clip)
    return ClipTask(data=data, held_out=data, clip=clip, batch_size=8)


def test_it_learns_which_caption_is_whose(options):
    task = task_of(options)
    network = task.clip.network
    before = clip_figures(task.clip, task.data)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(25):
        optimizer.zero_grad()
        task.loss(network, torch.Generator().manual_seed(step), 0.0).backward()
        optimizer.step()
    after = clip_figures(task.clip, task.data)
    assert after["among"] == len(set(task.data.scenes.tolist()))
    assert after["caption_of_picture"] >= 0.75 > before["caption_of_picture"]
    assert after["picture_of_caption"] >= 0.75


def test_captions_of_one_scene_are_all_right(options):
    """Two rows of one scene share the answer: telling them apart is not asked for."""
    task = task_of(options)
    same = ClipTask(
        data=Captioned(cache=task.data.cache, ids=task.data.ids, scenes=torch.zeros(8, dtype=torch.long)),
        held_out=task.held_out,
        clip=task.clip,
        batch_size=8,
    )
    network = task.clip.network
    with torch.no_grad():
        network.logit_scale.fill_(-20.0)  # all logits alike: nothing better can be said of one scene
        loss = same.loss(network, torch.Generator().manual_seed(0), 0.0)
    torch.testing.assert_close(loss, torch.tensor(8.0).log())


def test_the_folder_is_a_clip_for_us_and_for_transformers(options):
    figures = train_clip(options)
    folder = options.models_dir / mini_clip.FOLDER
    assert figures["steps"] == 1 and Path(figures["file"]).parent == folder
    assert list(find_clips(options.models_dir)) == [folder]
    clip = load_clip(folder)
    weights = sum(weight.numel() for weight in clip.network.parameters())
    assert 1e6 < weights < 1.6e6 and Path(figures["file"]).stat().st_size < 3.2e6
    ids = clip.token_ids(["a red sphere", "two blue cubes on a green background"])
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        both = theirs(input_ids=ids, pixel_values=pixels)
        seen = clip.network.visual_projection(clip.network.vision_model(pixels).pooled)
    torch.testing.assert_close(clip.embed_ids(ids), both.text_embeds, rtol=0, atol=5e-5)
    torch.testing.assert_close(torch.nn.functional.normalize(seen, dim=-1), both.image_embeds, rtol=0, atol=5e-5)


def test_colours_are_swapped_where_there_are_two():
    swapped = "a blue sphere to the left of a red cube"
    assert with_colors_swapped("a red sphere to the left of a blue cube") == swapped
    for caption in ("a red sphere", "a red sphere left of a red cube", "a red cube and a blue cone on green"):
        assert with_colors_swapped(caption) is None
