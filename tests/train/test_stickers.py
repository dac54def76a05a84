"""Drawings of named things: are packages checked, drawings recoloured and placed as the scene says, captions true?"""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("resvg_py")

from imagen_core import read_spec
from imagen_core.super_resolution import resize
from imagen_train import data
from imagen_train.evaluate_control import Cases, by_nearest_render
from imagen_train.options import TrainOptions
from imagen_train.segment_maps import DepthMaps, SegmentMaps
from imagen_train.stickers import backdrops, judge, nearest
from imagen_train.stickers.captions import write_caption
from imagen_train.stickers.colors import COLORS, HUES, lab_to_rgb, recolor, rgb_to_lab
from imagen_train.stickers.evaluate import Asked, asked, judged, rendered, share
from imagen_train.stickers.known import WEIGHTS, known, pages
from imagen_train.stickers.mixes import FIRST
from imagen_train.stickers.names import regular_plural, things, with_article
from imagen_train.stickers.packages import digest, obtain
from imagen_train.stickers.pictures import batch, build, described, labels, open_library, paint
from imagen_train.stickers.rendering import render
from imagen_train.stickers.scene import LAYOUTS, STYLES, Mix, Placed, Scene, SceneSampler, hold_out
from imagen_train.stickers.solids import SOLIDS, solids
from imagen_train.stickers.sources import PACKAGES, Package
from imagen_train.stickers.vectors import open_vectors
from imagen_train.windows import lively_windows

THINGS = ("fox", "owl", "rocket", "pear")
CODES = {"fox": "1f98a", "owl": "1f989", "rocket": "1f680", "pear": "1f350"}
ALLOWED = {"MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-3.0", "CC0-1.0"}


def archive(folder: Path, name: str, members: dict[str, bytes], style: str | None = None) -> Package:
    """An npm package of our own, and its description with its true hash."""
    package = Package(name=name, version="1.0.0", integrity="", licence="MIT", credit="us", home="here", style=style)
    path = folder / package.file
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"package/{member}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return Package(
        name=name,
        version="1.0.0",
        integrity=digest(path, "sha512"),
        licence="MIT",
        credit="us",
        home="here",
        style=style,
    )


def webp(color: tuple[int, int, int]) -> bytes:
    picture = Image.new("RGBA", (40, 20))
    picture.paste((*color, 255), (5, 0, 35, 20))
    held = io.BytesIO()
    picture.save(held, "WEBP", lossless=True)
    return held.getvalue()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three tiny packages of drawings and one of names, in a folder; and a library built of them."""
    folder, root = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("training") / "stickers"
    names = [{"label": thing, "hexcode": CODES[thing].upper()} for thing in THINGS]
    emojibase = archive(folder, "emojibase-data", {"en/data.json": json.dumps(names).encode()})
    pictures = [
        archive(
            folder,
            "@lobehub/fluent-emoji-3d",
            {f"assets/{CODES[t]}.webp": webp((200, 80, 30 + 90 * i)) for i, t in enumerate(THINGS[:3])},
            style="3d",
        )
    ]
    for style, name in (("flat", "fluent-emoji-flat"), ("cartoon", "noto")):
        body = '<circle cx="8" cy="8" r="6" fill="#c8501e"/>'
        icons = {"icons": {t: {"body": body} for t in THINGS}, "width": 16, "height": 16}
        members = {"icons.json": icons, "chars.json": {CODES[t]: t for t in THINGS}}
        held = {name: json.dumps(content).encode() for name, content in members.items()}
        pictures.append(archive(folder, f"@iconify-json/{name}", held, style=style))
    library, skipped = build(root, folder, pictures=tuple(pictures), names=emojibase)
    icons = {"icons": {t: {"body": '<rect x="4" y="4" width="8" height="8"/>'} for t in THINGS[:2]}, "width": 16}
    large = archive(folder, "@iconify-json/large", {"icons.json": json.dumps(icons).encode()}, style="3d")
    vectors = open_vectors(folder, side=1024, pictures=tuple(pictures), names=emojibase, large_3d=large)
    return folder, root, tuple(pictures), library, skipped, vectors


def index_of(noun: str) -> int:
    return next(i for i, thing in enumerate(things()) if thing.noun == noun)


def scene(**changes) -> Scene:
    placed = (Placed(index_of("fox"), None, 0.5, 0.5, 0.5, False),)
    return Scene(
        **{**dict(layout="one", style="flat", placed=placed, backdrop="white", gradient=False, seed=1), **changes}
    )


def test_every_package_is_pinned_and_openly_licensed():
    for package in PACKAGES:
        assert package.licence in ALLOWED and package.integrity.startswith(("sha512-", "sha256-")) and package.credit


def test_another_file_under_the_name_is_refused(shop, tmp_path):
    folder, _, pictures, *_ = shop
    (tmp_path / pictures[0].file).write_bytes((folder / pictures[0].file).read_bytes() + b"\0")
    with pytest.raises(ValueError, match="its hash is sha512-"):
        obtain(pictures[0], tmp_path)


def test_the_library_knows_what_every_style_has_and_says_what_is_missing(shop):
    *_, library, skipped, _ = shop
    assert {library.vocabulary[i].noun for i in library.complete} == {"fox", "owl", "rocket", *SOLIDS}
    assert skipped["pear"] == "the 3d set has no drawing of it"
    assert skipped["cat"] == "no emoji is called cat face"


def test_a_built_library_is_kept_and_opened(shop):
    folder, root, pictures, library, *_ = shop
    before = {file: file.stat().st_mtime_ns for file in root.iterdir()}
    build(
        root,
        folder,
        pictures=pictures,
        names=Package(**vars(archive(folder, "emojibase-data", {"en/data.json": b"[]"}))),
    )
    assert {file: file.stat().st_mtime_ns for file in root.iterdir()} == before
    assert open_library(root).rows == library.rows
    with pytest.raises(FileNotFoundError, match="imagen data stickers"):
        open_library(root, 33)


def test_a_drawing_lies_where_the_scene_says(shop):
    *_, library, _, _ = shop
    corner = Placed(index_of("fox"), None, 0.25, 0.75, 0.5, False)
    pixels = paint(scene(placed=(corner,)), library, 64).astype(int)
    drawn = np.abs(pixels - 255).sum(-1) > 60
    rows, columns = np.where(drawn)
    assert rows.min() >= 32 and columns.max() < 32
    assert abs(rows.mean() - 47.5) < 1 and abs(columns.mean() - 15.5) < 1
    assert drawn.sum() == pytest.approx(np.pi * 12**2, rel=0.08)  # the circle: radius 6 of 16, in 32 px


@pytest.mark.parametrize("name", COLORS)
def test_a_recoloured_drawing_has_the_hue_of_its_name(name):
    rgb = np.full((4, 4, 3), (0.8, 0.3, 0.1), np.float32)
    lab = rgb_to_lab(recolor(rgb, np.ones((4, 4), np.float32), name))[0, 0]
    chroma, hue = np.hypot(lab[1], lab[2]), np.degrees(np.arctan2(lab[2], lab[1])) % 360
    if name in HUES:
        assert abs((hue - HUES[name][0] + 180) % 360 - 180) < 12 and chroma > 0.07
    elif name != "brown":
        assert chroma < 0.02
    assert {"black": lab[0] < 0.35, "white": lab[0] > 0.8}.get(name, True)


def test_oklab_and_back():
    rgb = np.random.default_rng(0).random((8, 8, 3), np.float32)
    assert np.abs(lab_to_rgb(rgb_to_lab(rgb)) - rgb).max() < 1e-4


@pytest.mark.parametrize("name", backdrops.NAMES)
def test_a_backdrop_is_the_same_at_any_size(name):
    small, large = (backdrops.paint(name, side, 5) for side in (32, 128))
    assert np.array_equal(small, backdrops.paint(name, 32, 5))
    assert np.abs(large.reshape(32, 4, 32, 4, 3).mean((1, 3)) - small).mean() < 0.03


def test_held_out_colours_and_things_never_reach_training():
    vocabulary, everything = things(), list(range(len(things())))
    held, rng = hold_out(vocabulary), Random(0)
    training, test = (SceneSampler(vocabulary, everything, Mix(), held_out=flag) for flag in (False, True))
    for _ in range(1500):
        for placed in training.sample(rng).placed:
            assert placed.thing not in held.things and placed.color not in held.colors[placed.thing]
        for placed in test.sample(rng).placed:
            assert placed.color is None or placed.color in held.colors[placed.thing]
    assert 1 <= len(held.things) <= len(vocabulary) // 10


def test_a_longer_list_leaves_the_split_as_it_was():
    short, whole = hold_out(things()[:50]), hold_out(things())
    assert short.things == {i for i in whole.things if i < 50}
    assert all(short.colors[i] == whole.colors[i] for i in range(50))


def test_captions_state_what_is_there():
    vocabulary, rng = things(), Random(1)
    sampler = SceneSampler(vocabulary, list(range(len(vocabulary))), Mix(several=0.3, pair=0.3))
    for _ in range(800):
        drawn = sampler.sample(rng)
        said = write_caption(drawn, vocabulary, rng)
        text = said.text
        for placed in drawn.placed:
            thing = vocabulary[placed.thing]
            words = {thing.noun, thing.plural, *thing.words, *map(regular_plural, thing.words)}
            assert any(word in text for word in words), text
        assert "  " not in text and not text.startswith(",") and "{" not in text
        if drawn.layout == "pair" and "relation" not in said.stated:
            assert not any(word in text for word in (" left", " right", " above ", " below ", " on top "))


@pytest.mark.parametrize(
    ("phrase", "said"),
    [("owl", "an owl"), ("fox", "a fox"), ("unicorn", "a unicorn"), ("UFO", "a UFO"), ("orange fox", "an orange fox")],
)
def test_articles(phrase, said):
    assert with_article(phrase) == said


def test_plurals():
    assert [thing.plural for thing in things() if thing.noun in ("fox", "mouse", "butterfly", "deer")] == [
        *("foxes", "mice", "deer", "butterflies")
    ]


def test_batches_repeat_and_show_every_thing_equally_often(shop):
    *_, library, _, _ = shop
    first, captions, scenes = batch(library, 36, 7, tier=1, mix=Mix())
    again, *_ = batch(library, 36, 7, tier=1, mix=Mix())
    assert np.array_equal(first, again) and first.shape == (36, 64, 64, 3) and len(captions) == 36
    shown = Counter(each.placed[0].thing for each in scenes)
    assert len(set(shown.values())) == 1
    row = labels(scenes[0])
    assert LAYOUTS[row["layout"]] == scenes[0].layout and row["count"] == len(scenes[0].placed)


@pytest.mark.parametrize("style", STYLES)
def test_a_solid_fills_its_square_and_looks_its_style(style):
    for drawing in solids(style):
        pixels = render(drawing, 64).astype(int)
        inside = pixels[..., 3] > 250
        assert inside.any(1).mean() > 0.75 and inside.any(0).mean() > 0.6  # nearly as high and wide as its square
        assert (inside[32, 32]) == (drawing.id != "torus")
        tones = Counter(map(tuple, pixels[..., :3][inside] // 4))
        plain = sum(count for _, count in tones.most_common(5)) / inside.sum()  # a face or two, an outline, a highlight
        assert plain < 0.4 if style == "3d" else plain > 0.4
        dark = (pixels[..., :3].max(-1) < 90) & inside
        assert dark.any() == (style == "cartoon")


def test_a_set_may_show_some_things_alone(shop):
    *_, library, _, _ = shop
    scenes, _ = described(library, 24, 1, tier=2, mix=Mix(pair=0.5), only=tuple(SOLIDS))
    assert {library.vocabulary[each.thing].noun for scene in scenes for each in scene.placed} == set(SOLIDS)


def test_large_pictures_are_drawn_from_vectors_at_their_own_size(shop):
    vectors = shop[5]
    assert {vectors.vocabulary[i].noun for i in vectors.complete} == {"fox", "owl", *SOLIDS}  # by the flat set's ids
    square = paint(scene(style="3d", placed=(Placed(index_of("fox"), None, 0.5, 0.5, 0.5, False),)), vectors, 512)
    dark = np.abs(square.astype(int) - 255).sum(-1) > 380
    assert dark.sum() == 128 * 128 and dark[192:320, 192:320].all()  # crisp to the pixel


def test_windows_are_cut_where_the_detail_is():
    picture = np.full((512, 512, 3), 255, np.uint8)
    picture[40:60:2, 60:80] = 0
    windows = lively_windows(picture, 128, 12, torch.Generator().manual_seed(0))
    assert all(window.shape == (128, 128, 3) for window in windows)
    assert sum(window.min() == 0 for window in windows) >= 4


def test_pictures_drawn_anew_by_the_base_are_cut_and_turned_with_the_true_ones(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEN_TRAINING_DIR", str(shop[1].parent))
    kind = data.DrawingKind(name="tiny", side=256, chunk=2, mix=FIRST, redrawn_by=data.THINGS64)
    data.render_pictures(kind, 2, tmp_path)
    cache = data.PictureCache(tmp_path, kind)
    cut = cache.crops(8, 128, torch.Generator().manual_seed(3))
    shrunk = resize(cut.large, (32, 32))
    assert cut.small.shape == shrunk.shape and not torch.equal(cut.small, shrunk)
    apart = (cut.small - shrunk).square().mean((1, 2, 3))
    turned = (cut.small.flip(2) - shrunk).square().mean((1, 2, 3))
    assert apart.max() < 0.1 and apart.sum() < turned.sum() / 2
    plain = dataclasses.replace(kind, name="plain", redrawn_by=None)
    data.render_pictures(plain, 2, tmp_path)
    cut = data.PictureCache(tmp_path, plain).crops(8, 128, torch.Generator().manual_seed(3))
    assert torch.equal(cut.small, resize(cut.large, (32, 32)))


def test_the_judge_is_trained_tested_and_read_again(shop, tmp_path, monkeypatch):
    _, root, *_ = shop
    monkeypatch.setenv("IMAGEN_TRAINING_DIR", str(root.parent))
    for name in ("things64_wide", "things64_wide_held_out", "things64_wide_test"):
        monkeypatch.setitem(data.KINDS, name, dataclasses.replace(data.KINDS[name], chunk=8))
    for name in ("HELD_OUT_PICTURES", "TEST_PICTURES"):
        monkeypatch.setattr(judge, name, 8)
    data.render_pictures(data.KINDS["things64_wide"], 16, tmp_path)
    options = TrainOptions(state_dir=tmp_path / "s", cache_dir=tmp_path, models_dir=tmp_path, max_steps=2, batch_size=6)
    figures = judge.train_judge(options)
    assert set(figures["accuracy"]) == set(judge.heads())
    network = judge.load_things_judge(tmp_path / judge.FILE)
    library = shop[3]
    wanted = asked(library, 24, 5, tier=1)
    seen = judged(network, rendered(library, wanted), wanted)
    assert seen["thing"]["count"] + seen["relation"]["count"] == 24 and 0 <= seen["thing_top_5"]["mean"] <= 1
    for caption, drawn in zip(wanted.captions, wanted.scenes, strict=True):
        assert {"style", "color", "backdrop"} <= caption.stated and (
            "relation" in caption.stated or drawn.layout != "pair"
        )


def test_a_share_has_its_standard_error():
    assert share([True, True, False, False]) == {"mean": 0.5, "se": 0.25, "count": 4}


def test_a_render_is_nearest_to_itself_and_to_nothing_else_that_was_asked_for(shop):
    library = shop[3]
    wanted = nearest.asked_scenes(library, 24, 5, tier=1)
    things = library.available(1)
    assert {scene.layout for scene in wanted.scenes} == set(LAYOUTS)
    perfect = nearest.judged(rendered(library, wanted), wanted, library, things)
    asked_of = {"thing", "thing_top_5", "color", "style", "backdrop", "count", "relation", "bound"}
    assert asked_of <= set(perfect) and all(figure["mean"] == 1 for figure in perfect.values())
    changes = {
        "thing": lambda scene: nearest.other_things(scene, things),
        "color": nearest.other_colors,
        "backdrop": nearest.other_backdrops,
        "count": nearest.other_counts,
        "relation": nearest.other_relations,
    }
    layouts = {"count": "several", "relation": "pair"}
    for aspect, change in changes.items():
        kept = [i for i, scene in enumerate(wanted.scenes) if scene.layout == layouts.get(aspect, "one")]
        kept = [i for i in kept if aspect != "color" or wanted.scenes[i].placed[0].color]
        part = Asked([wanted.captions[i] for i in kept], [wanted.scenes[i] for i in kept])
        other = rendered(library, Asked(part.captions, [next(iter(change(scene))) for scene in part.scenes]))
        alike = (other == rendered(library, part)).flatten(1).all(1)  # some of these plain drawings are
        assert not alike.all()
        assert nearest.judged(other, part, library, things)[aspect] == share(alike.tolist())


def test_renamed_things_are_asked_for_by_another_word_and_judged_as_the_same_thing():
    library = SimpleNamespace(vocabulary=things(), available=lambda tier: list(range(len(things()))))
    wanted = nearest.renamed_scenes(library, 40, 3, tier=2)
    for caption, drawn in zip(wanted.captions, wanted.scenes, strict=True):
        thing = things()[drawn.placed[0].thing]
        assert len(drawn.placed) == 1 and any(word in caption.text for word in thing.words), caption.text
        assert f" {thing.noun} " not in f" {caption.text.replace(',', ' ')} " or any(
            thing.noun in w for w in thing.words
        )


def test_captions_hold_where_the_right_render_is_nearest_and_segments_lie_where_things_do(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEN_TRAINING_DIR", str(shop[1].parent))
    kind = data.DrawingKind(name="tiny", side=64, chunk=6, mix=FIRST)
    data.render_pictures(kind, 6, tmp_path)
    cache = data.PictureCache(tmp_path, kind)
    cases = Cases.of(cache, 6)
    singles = [i for i, scene in enumerate(cases.scenes) if scene.layout == "one"]
    right, wrong = by_nearest_render(kind, 4)(cases, [cases.pictures, -cases.pictures])
    assert right["caption"]["mean"] == 1.0 and right["caption"]["count"] == min(4, len(singles))
    assert wrong["caption"]["mean"] < 1.0
    maps = SegmentMaps(cache)
    regions = maps.of(singles)
    assert (tmp_path / "tiny" / "00000.segments.npy").stat().st_mtime_ns and regions.shape == (len(singles), 64, 64)
    assert all(0.1 < (each > 0).float().mean() < 0.9 and each.max() == 1 for each in regions)
    plain = [i for i in singles if not cases.scenes[i].gradient and cases.scenes[i].backdrop == "white"]
    for i in plain:
        assert (cases.pictures[i, :, regions[singles.index(i)] == 0] > 0.2).all()
    windows = dataclasses.replace(kind, window=32)
    assert not SegmentMaps.known_of(SimpleNamespace(kind=windows))
    depths = DepthMaps(cache).of(singles)
    assert torch.equal(depths > 0, regions > 0) and depths.max() <= 1 and depths[regions > 0].min() > 0.3


def test_what_is_not_loose_stands_always_in_one_place():
    vocabulary = things()
    sampler = SceneSampler(vocabulary, list(range(len(vocabulary))), dataclasses.replace(FIRST, sized=0.0))
    scenes = [sampler.sample(Random(seed)) for seed in range(60)]
    singles = {dataclasses.replace(s.placed[0], thing=0, color=None) for s in scenes if s.layout == "one"}
    assert singles == {Placed(0, None, 0.5, 0.5, 0.79, False)} and {s.style for s in scenes} == {"3d"}


def test_the_lists_of_things_are_what_the_shipped_weights_learned(lively):
    what = known()
    stale = [path.name for path, text in pages(what).items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `imagen data things --write`"
    kind, unseen = data.KINDS[read_spec(WEIGHTS).training["pictures"]], hold_out(things()).things
    taught = {thing.noun for i, thing in enumerate(things()) if i not in unseen and thing.tier <= kind.tier}
    assert {thing.noun for thing in what.things} == taught and "spiral shell" not in taught
    with pytest.raises(ValueError, match="sr1024.safetensors enlarges, and nothing is asked of it by name"):
        known(WEIGHTS.with_name("sr1024.safetensors"))
    with pytest.raises(ValueError, match="base.safetensors learned from unknown pictures, not from drawings"):
        known(lively)
