"""Does imagen-mini's CLIP learn which caption belongs to which picture, is its folder a CLIP for everybody, and does the
shipped one know what it should?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("resvg_py")

from imagen_core import find_clips, load_clip
from imagen_core.clip.model import Clip, normalised
from imagen_core.text.tokenizer import load_tokenizer
from imagen_train import mini_clip
from imagen_train.data import KINDS, PictureCache, render_pictures, to_float
from imagen_train.mini_clip import FACTS, Captioned, ClipTask, Places, clip_config, fresh_network
from imagen_train.optim import OptimConfig, Optimizers
from imagen_train.options import TrainOptions
from imagen_train.stickers.contrasts import SWAPS, contrasted, swapped, two_captions
from imagen_train.stickers.names import things
from imagen_train.stickers.scene import Placed, Scene
from imagen_train.stickers.words import build_tokenizer

MINI = Path(__file__).resolve().parents[2] / "models" / "imagen-mini"
NAMES = (mini_clip.SHOWN, mini_clip.HELD_OUT, mini_clip.TEST)
KNOWN = 12  # things of the list that there are drawings of


@pytest.fixture
def options(drawings, monkeypatch) -> TrainOptions:
    """A run of one step on pictures made of coloured squares."""
    mix = dataclasses.replace(KINDS[mini_clip.SHOWN].mix, pair=0.5, scenery=0.0)
    for name in NAMES:
        kind = dataclasses.replace(KINDS[name], chunk=24, mix=mix)
        monkeypatch.setitem(KINDS, name, kind)
        render_pictures(kind, 24, drawings / "cache")
    for name in ("HELD_OUT_PICTURES", "TEST_PICTURES"):
        monkeypatch.setattr(mini_clip, name, 24)
    return TrainOptions(
        state_dir=drawings / "state",
        cache_dir=drawings / "cache",
        models_dir=drawings / "models",
        max_steps=1,
        batch_size=16,
        preview_minutes=float("inf"),
    )


@pytest.fixture
def task(options) -> ClipTask:
    torch.manual_seed(0)
    file = options.cache_dir / "tokenizer.json"
    file.write_bytes(mini_clip.tokenizer_json())
    shown, held_out, test = (Captioned.of(PictureCache(options.cache_dir, name)) for name in NAMES)
    helper = Places(len(things()))
    return ClipTask(
        shown=shown, held_out=held_out, test=test, tokenizer=load_tokenizer(file), batch_size=16, helper=helper
    )


def test_it_learns_which_caption_is_whose(task):
    network = fresh_network(clip_config(task.tokenizer.size))
    optimizers = Optimizers(torch.nn.ModuleList([network, task.helper]), OptimConfig())
    before = mini_clip.clip_figures(Clip(network, task.tokenizer), task.shown)
    for step in range(40):
        optimizers.zero_grad()
        task.loss(network, torch.Generator().manual_seed(step), 0.0).backward()
        optimizers.step(0.5)
    after = mini_clip.clip_figures(Clip(network, task.tokenizer), task.shown)
    assert after["among"] == len(set(task.shown.cache.captions))
    assert after["caption_of_picture"] > 3 * max(before["caption_of_picture"], 1 / after["among"])
    assert after["swaps"] == sum(swapped(s, what) is not None for s in task.shown.scenes for what in SWAPS)


def test_places_are_heard_beside_patches(task):
    """Else which of two things is left is lost before the first layer."""
    embeddings = fresh_network(clip_config(task.tokenizer.size)).vision_model.embeddings
    pixels = normalised(task.shown.at(torch.arange(8)).pixels)
    there = embeddings(pixels)[:, 1:]
    place = embeddings.position_embedding.weight[1:]
    share = place.square().mean() / (there - place).square().mean()
    assert 0.1 < share < 10


def test_a_pair_stands_in_the_batch_twice_and_every_caption_is_true_of_its_own(task):
    batch = task.drawn(torch.Generator().manual_seed(1))
    half = int(16 * mini_clip.PAIRS / 2)
    thing, other = FACTS.index("thing"), FACTS.index("thing_2")
    assert torch.equal(batch.facts[:half, thing], batch.facts[half : 2 * half, other])
    assert all(torch.equal(a.sort().values, b.sort().values) for a, b in zip(*_sorted_pixels(batch, half), strict=True))
    assert not torch.equal(batch.pixels[:half], batch.pixels[half : 2 * half])
    true = mini_clip.true_of(batch)
    assert true.shape == (16, 16 + len(batch.wrong)) and true[:, :16].diagonal().all() and not true[:, 16:].any()
    assert not true[torch.arange(half), torch.arange(half) + half].any()  # the exchanged caption is another


def _sorted_pixels(batch, half):
    return batch.pixels[:half].flatten(1), batch.pixels[half : 2 * half].flatten(1)


def test_what_a_caption_leaves_out_is_true_of_others_too(task):
    shown = task.shown.at(torch.arange(2))
    pixels, facts = shown.pixels, shown.facts[:1].repeat(2, 1)
    facts[1, FACTS.index("style")] += 1
    said = mini_clip.Caption("a fox", frozenset()), mini_clip.Caption("a flat fox", frozenset(["style"]))
    true = mini_clip.true_of(mini_clip.Drawn(pixels, facts, list(said), []))
    assert true.tolist() == [[True, False], [True, True]]


def pair(**changes) -> Scene:
    a, b = Placed(0, "red", 0.26, 0.5, 0.45, False), Placed(1, None, 0.74, 0.5, 0.45, False)
    settings = {"layout": "pair", "style": "flat", "placed": (a, b), "backdrop": "white", "gradient": False, "seed": 1}
    return Scene(**(settings | {"relation": "left"} | changes))


def test_a_pair_is_swapped_in_one_respect_and_said_in_the_same_words():
    scene, vocabulary = pair(), things()
    for what, wanted in (
        ("colors", [(0, None), (1, "red")]),
        ("things", [(1, "red"), (0, None)]),
        ("places", [(1, None), (0, "red")]),
    ):
        other = swapped(scene, what)
        assert [(placed.thing, placed.color) for placed in other.placed] == wanted
        right, wrong = two_captions(scene, other, vocabulary, Random(3))
        assert right.text != wrong.text and right.stated == wrong.stated == {"style", "color", "backdrop", "relation"}
    alike = pair(placed=(scene.placed[1], dataclasses.replace(scene.placed[1], x=0.2)))
    assert [swapped(alike, what) for what in SWAPS] == [None] * 3
    assert swapped(dataclasses.replace(scene, layout="one"), "colors") is None


def test_a_contrasted_scene_differs_from_it_in_what_can_be_said():
    one = pair(layout="one", relation=None, placed=pair().placed[:1])
    several = pair(layout="several", relation=None, placed=(pair().placed[0],) * 3)
    for scene in (one, several, pair()):
        for seed in range(12):
            other = contrasted(scene, list(range(KNOWN)), Random(seed))
            right, wrong = two_captions(scene, other, things(), Random(seed))
            assert other != scene and right.text != wrong.text


def test_every_word_of_every_caption_is_one_token(task):
    tokenizer = build_tokenizer(KINDS[mini_clip.SHOWN].tier)
    for caption in task.shown.cache.captions:
        assert 0 not in tokenizer.encode(caption).ids
    assert tokenizer.encode("A majestic FOX, red background").ids.count(0) == 1
    longest = max(task.shown.cache.captions, key=lambda caption: len(tokenizer.encode(caption).ids))
    assert len(tokenizer.encode(longest).ids) + mini_clip.MARKS < mini_clip.POSITIONS


def test_noise_is_that_of_the_schedule_and_spares_three_in_five():
    pictures = torch.zeros(1000, 3, 8, 8)
    level = mini_clip.noised(pictures, torch.Generator().manual_seed(0)).std((1, 2, 3))
    assert (level == 0).double().mean() == pytest.approx(1 - mini_clip.NOISY)
    assert level[level > 0].mean() == pytest.approx(2 / torch.pi, abs=0.05)  # the mean of sin over a quarter


def test_the_folder_is_a_clip_for_us_and_for_transformers(options):
    figures = mini_clip.train_clip(options)
    folder = options.models_dir / mini_clip.FOLDER
    assert figures["steps"] == 1 and Path(figures["file"]).parent == folder
    assert list(find_clips(options.models_dir)) == [folder]
    clip = load_clip(folder)
    assert clip.noise_aware and sum(weight.numel() for weight in clip.network.parameters()) < 1.8e6
    ids = clip.token_ids(["a red fox", "two blue owls on a green background"])
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        both = theirs(input_ids=ids, pixel_values=pixels)
        seen = clip.network.visual_projection(clip.network.vision_model(pixels).pooled)
    torch.testing.assert_close(clip.embed_ids(ids), both.text_embeds, rtol=0, atol=5e-5)
    torch.testing.assert_close(torch.nn.functional.normalize(seen, dim=-1), both.image_embeds, rtol=0, atol=5e-5)


def test_a_run_goes_on_from_a_finished_folder(options):
    first = mini_clip.train_clip(options)
    again = dataclasses.replace(
        options, state_dir=options.state_dir.parent / "again", from_weights=Path(first["file"]), rate=0.0
    )
    before = load_clip(Path(first["file"]).parent).network.state_dict()
    mini_clip.train_clip(again)
    after = load_clip(Path(first["file"]).parent).network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_pictures_of_other_scenes_are_refused(options):
    file = options.cache_dir / mini_clip.SHOWN / "00000.json"
    about = json.loads(file.read_text())
    about["labels"]["thing"][0] += 1
    file.write_text(json.dumps(about))
    with pytest.raises(ValueError, match="rendered by other scenes than today's: delete it"):
        Captioned.of(PictureCache(options.cache_dir, mini_clip.SHOWN))


# ---- the shipped one ----


@pytest.fixture(scope="module")
def shipped() -> Clip:
    return load_clip(MINI / mini_clip.FOLDER)


@pytest.fixture(scope="module")
def sheet() -> tuple[torch.Tensor, list[str]]:
    """The pictures that things64 drew for the model card (64 3 64 64), and what it was asked for."""
    captions = (MINI / "sheet_things64.txt").read_text().splitlines()
    with Image.open(MINI / "sheet_things64.jpg") as picture:
        side = picture.width // 8
        places = [(i % 8 * side, i // 8 * side) for i in range(len(captions))]
        tiles = [picture.crop((x, y, x + side, y + side)).resize((64, 64), Image.Resampling.BOX) for x, y in places]
    return to_float(np.stack([np.asarray(tile.convert("RGB")) for tile in tiles])), captions


def test_the_shipped_one_finds_the_captions_of_what_the_shipped_base_drew(shipped, sheet):
    pixels, captions = sheet
    with torch.inference_mode():
        found = shipped.embed_pixels(pixels) @ shipped.embed_texts(captions).mT
        noisy = (pixels + torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))) / 2**0.5
        through_noise = shipped.embed_noisy(noisy) @ shipped.embed_texts(captions).mT
    own = torch.arange(len(captions))
    assert (found.argmax(1) == own).float().mean() > 0.6 < (found.argmax(0) == own).float().mean()
    assert (through_noise.argmax(1) == own).float().mean() > 0.4


def test_the_shipped_one_is_small_and_says_what_it_reached(shipped):
    file = MINI / mini_clip.FOLDER / "model.safetensors"
    assert file.stat().st_size < 3.5e6 and shipped.noise_aware
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        figures = json.loads(opened.metadata()["training"])
    assert (
        figures["among"] == mini_clip.RETRIEVAL and figures["caption_of_picture"] > 0.6 < figures["picture_of_caption"]
    )
    assert figures["swapped_colors"] > 0.9
