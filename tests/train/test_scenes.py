"""Do scenes hold what their captions say, is training kept apart from the held-out set, do pictures come out whole?"""

import re
from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest
import torch

from imagen_train.scenes import describe_scenes, render, sample_captions, sample_scenes
from imagen_train.scenes import vocabulary as words
from imagen_train.scenes.camera import directions, eye, pixel_centers, project
from imagen_train.scenes.captions import write_caption
from imagen_train.scenes.packing import pack
from imagen_train.scenes.scene import Scene, Thing
from imagen_train.scenes.sdf import BOTTOM, BOUND, HALF_WIDTH, TOP, distance, normal, resting_heights
from imagen_train.scenes.surfaces import find_hits
from imagen_train.scenes.vocabulary import MAX_THINGS, SHAPES, is_held_out

FORMS = range(len(SHAPES))


@pytest.fixture(scope="module")
def batch():
    return sample_scenes(2500, seed=0)


@pytest.fixture(scope="module")
def packed(batch):
    return pack(batch.scenes, batch.seeds)


def make_scene(layout: str, backdrop: str, *things: str, word: str | None = None) -> Scene:
    """`things` are "color shape" or "size color shape", for instance "red cube"."""
    parts = [["medium", *thing.split()][-3:] for thing in things]
    return Scene(
        words.LAYOUTS.index(layout),
        words.BACKDROPS.index(backdrop),
        tuple(Thing(words.COLORS.index(c), SHAPES.index(s), 0, words.SIZES.index(size)) for size, c, s in parts),
        word,
    )


def same(one, other) -> bool:
    return all(torch.equal(one.labels[name], other.labels[name]) for name in words.LABELS) and (
        one.captions == other.captions and one.parses == other.parses and torch.equal(one.seeds, other.seeds)
    )


# What is drawn


def test_a_seed_decides_everything():
    first, again, other = (sample_scenes(50, seed=seed) for seed in (5, 5, 6))
    assert same(first, again) and not same(first, other)
    assert same(first, sample_captions(50, seed=5))
    assert torch.equal(render(first[:3], 24), render(again[:3], 24))


def test_slices_of_a_batch_are_batches(batch):
    part = batch[10:14]
    assert len(part) == 4 and part.captions == batch.captions[10:14]
    assert torch.equal(part.labels["layout"], batch.labels["layout"][10:14])
    alone = pack(part.scenes, part.seeds)
    assert torch.equal(alone.center, pack(batch.scenes, batch.seeds)[10:14].center)
    with pytest.raises(ValueError, match="slice"):
        batch[3]


@pytest.mark.parametrize("arguments", [{"count": 0, "seed": 1}, {"count": 1, "seed": -1}])
def test_senseless_requests_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        sample_scenes(**arguments)


def test_training_never_shows_a_held_out_pair(batch):
    for scene in batch.scenes:
        assert not any(is_held_out(thing.color, thing.shape) for thing in scene.things)


def test_the_held_out_set_has_held_out_pairs_first_and_only_there():
    for scene in sample_scenes(1000, seed=0, held_out=True).scenes:
        first, *others = dict.fromkeys(scene.things)
        assert is_held_out(first.color, first.shape)
        assert not any(is_held_out(thing.color, thing.shape) for thing in others)


def test_held_out_pairs_are_one_in_eight_and_touch_every_name():
    assert len(words.HELD_OUT_PAIRS) == len(words.COLORS)
    assert {color for color, _ in words.HELD_OUT_PAIRS} == set(range(len(words.COLORS)))
    assert {shape for _, shape in words.HELD_OUT_PAIRS} == set(FORMS)


def test_every_label_takes_every_value(batch):
    sizes = {"layout": 9, "backdrop": 12, "size": 3, "color_1": 12, "shape_1": 8, "material_1": 4, "color_2": 12}
    for name, size in (sizes | {"shape_2": 7}).items():
        assert set(batch.labels[name].tolist()) - {-1} == set(range(size)), name


def test_every_thing_of_a_pair_can_be_told_from_the_other(batch):
    for scene in batch.scenes:
        if scene.layout_name not in ("two", "three"):
            assert len({thing[:2] for thing in scene.things}) == len(scene.things)


# What is said


@pytest.mark.parametrize(
    ("sentence", "layout", "backdrop", "things"),
    [
        ("a large red matte sphere on a blue background", "one", "blue", ["large red sphere"]),
        ("a big red ball", "one", "night", ["large red sphere"]),
        ("a yellow cone to the left of a blue cube", "left", "gray", ["yellow cone", "blue cube"]),
        ("two green stars", "two", "pink", ["green star", "green star"]),
        ("3 grey boxes at night", "three", "night", ["gray cube"] * 3),
        ("a purple ring above a brown cylinder", "above", "white", ["purple ring", "brown cylinder"]),
        ("a purple ring on top of a brown cylinder", "above", "white", ["purple ring", "brown cylinder"]),
        ("A pink heart under an orange star at sunset.", "below", "sunset", ["pink heart", "orange star"]),
        ("a red cone on the left, a teal ring on the right", "left", "red", ["red cone", "teal ring"]),
        ("a red cone, a teal ring and a black cube", "trio", "red", ["red cone", "teal ring", "black cube"]),
        ('a sign that says "HELLO"', "sign", "black", ["red sign"]),
        ('the word "HELLO" on a red sign', "sign", "black", ["red sign"]),
    ],
)
def test_newcomers_sentences_are_among_the_captions(sentence, layout, backdrop, things):
    scene = make_scene(layout, backdrop, *things, word="HELLO" if layout == "sign" else None)
    rng = Random(0)
    assert any(write_caption(scene, rng).text == sentence for _ in range(15000))


def test_captions_use_known_words_only(batch):
    for caption, word in zip(batch.captions, batch.words, strict=True):
        text = caption.replace(f'"{word}"', "").replace(str(word), "")
        unknown = {part.lower() for part in re.findall(r"[^\s,.]+", text)} - set(words.CAPTION_WORDS)
        assert not unknown, caption


def test_articles_fit_their_words(batch):
    for caption in batch.captions:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption, re.IGNORECASE), caption
        assert "  " not in caption


def test_parses_use_known_words_only(batch):
    for parse, word in zip(batch.parses, batch.words, strict=True):
        assert set(parse.split()) - {word} <= set(words.PARSE_WORDS), parse


def read_parse(parse: str) -> dict[str, int]:
    """The labels that a parse states."""
    layout, *parts = parse.split(" ; ")
    found = {} if layout == "beside" else {"layout": words.LAYOUTS.index(layout)}
    for part in parts:
        kind, *values = part.split()
        if kind == "backdrop":
            found["backdrop"] = words.BACKDROPS.index(values[0])
        elif kind in "ab":
            found |= read_thing(values, "1" if kind == "a" else "2")
    return found


def read_thing(values: list[str], number: str) -> dict[str, int]:
    found = {}
    names = (("color", words.COLORS), ("shape", SHAPES), ("material", words.MATERIALS))
    for name, options in names:
        found |= {f"{name}_{number}": options.index(value) for value in values if value in options}
    if values[0] in words.SIZES and number == "1":
        found["size"] = words.SIZES.index(values[0])
    return {name: value for name, value in found.items() if name in words.LABELS}


def test_parses_state_exactly_the_true_labels_that_are_marked_as_stated(batch):
    for index, parse in enumerate(batch.parses):
        marked = {name: int(batch.labels[name][index]) for name in words.LABELS if batch.stated[name][index]}
        assert read_parse(parse) == marked, batch.captions[index]


def test_captions_say_what_they_state_and_nothing_else(batch):
    tables = {"color_1": words.COLOR_WORDS, "shape_1": words.SHAPE_WORDS, "size": words.SIZE_WORDS}
    for index, (caption, scene) in enumerate(zip(batch.captions, batch.scenes, strict=True)):
        if scene.layout_name != "one" or batch.stated["backdrop"][index]:
            continue
        spoken = set(caption.lower().rstrip(".").split())
        for name, table in tables.items():
            value = list(table)[batch.labels[name][index]]
            said = {key for key, options in table.items() if spoken & set(options)}
            assert said == ({value} if batch.stated[name][index] else set()), caption


def test_omissions_are_now_and_then(batch):
    def share(name):
        exists = batch.labels[name] >= 0
        return batch.stated[name][exists].float().mean().item()

    assert 0.70 < share("backdrop") < 0.80
    assert 0.90 < share("color_1") < 0.98
    assert share("shape_1") == 1 and share("layout") > 0.95
    assert 0.5 < share("material_1") < 0.8


def test_sign_words_are_spelled_on_the_sign(batch):
    for caption, parse, word, scene in zip(batch.captions, batch.parses, batch.words, batch.scenes, strict=True):
        assert (word is not None) == (scene.layout_name == "sign")
        if word:
            assert re.fullmatch("[A-Z]{2,6}", word) and word in caption and f"word {word}" in parse


# How it stands


@lru_cache
def points_inside(shape: int) -> torch.Tensor:
    """A grid's points (3, n) within a hair of the surface, on the inner side."""
    grid = torch.linspace(-1.3, 1.3, 66)
    points = torch.stack(torch.meshgrid(grid, grid, grid, indexing="ij")).flatten(1)
    gap = distance(shape, *points)
    return points[:, (gap <= 0) & (gap > -0.06)]


def seen_extent(packed, thing: int) -> torch.Tensor:
    """Frame coordinates (2, n) of points at the thing's surface."""
    local = points_inside(int(packed.shape[thing]))
    cosine, sine = packed.yaw[:, thing]
    turned = torch.stack((cosine * local[0] + sine * local[2], local[1], cosine * local[2] - sine * local[0]))
    return project(turned * packed.radius[thing] + packed.center[:, thing, None])


def test_nothing_is_clipped_by_the_frame(packed):
    for thing in (packed.shape >= 0).nonzero()[:, 0].tolist()[:1500]:
        assert seen_extent(packed, thing).abs().max() < 0.985


def test_relations_are_seen(batch, packed):
    u, v = project(packed.center).view(2, -1, MAX_THINGS).unbind(0)
    for index, scene in enumerate(batch.scenes):
        step_u, step_v = u[index, 1] - u[index, 0], v[index, 1] - v[index, 0]
        clear = {"left": step_u > 0.3, "right": step_u < -0.3, "above": step_v < -0.3, "below": step_v > 0.3}
        assert clear.get(scene.layout_name, True), batch.captions[index]
        if scene.layout_name == "trio":
            assert u[index, 0] < u[index, 1] < u[index, 2]


def test_everything_stands_on_the_floor_or_on_its_neighbor(batch, packed):
    low = packed.center[1] - packed.radius * torch.tensor(BOTTOM)[packed.shape]
    low = low.view(-1, MAX_THINGS)
    for index, scene in enumerate(batch.scenes):
        upper = {"above": 0, "below": 1}.get(scene.layout_name)
        for slot in range(len(scene.things)):
            assert abs(low[index, slot]) < 1e-5 or slot == upper


def test_sizes_are_seen(batch, packed):
    size, layout = batch.labels["size"], batch.labels["layout"]
    radius = packed.radius.view(-1, MAX_THINGS)[:, 0]
    for name in ("one", "two", "three", "left"):
        in_layout = layout == words.LAYOUTS.index(name)
        means = [radius[in_layout & (size == value)].mean() for value in range(3)]
        assert means[0] * 1.2 < means[1] and means[1] * 1.1 < means[2]


@pytest.mark.parametrize("shape", FORMS, ids=SHAPES)
def test_extents_are_those_of_the_form(shape):
    grid = torch.linspace(-1.3, 1.3, 105)
    y, x, z = (axis.reshape(-1) for axis in torch.meshgrid(grid, grid, grid, indexing="ij"))
    inside = distance(shape, x, y, z) <= 0
    x, y, z = x[inside], y[inside], z[inside]
    assert abs(-y.min() - BOTTOM[shape]) < 0.03 and abs(y.max() - TOP[shape]) < 0.03
    assert (x * x + z * z).sqrt().max() <= HALF_WIDTH[shape] + 0.01
    assert (x * x + y * y + z * z).sqrt().max() <= BOUND[shape]


@pytest.mark.parametrize("shape", FORMS, ids=SHAPES)
def test_distances_never_overstate(shape):
    generator = torch.Generator().manual_seed(shape)
    points = torch.randn(3, 500, generator=generator)
    way = torch.nn.functional.normalize(torch.randn(3, 500, generator=generator), dim=0)
    start, end = distance(shape, *points), distance(shape, *(points + 0.05 * way))
    assert ((start - end).abs() <= 0.05 * 1.08).all()
    assert torch.allclose(normal(shape, *points).norm(dim=0), torch.ones(500), atol=0.02)


def test_resting_heights_of_simple_forms():
    sphere, cube, cylinder = (SHAPES.index(name) for name in ("sphere", "cube", "cylinder"))
    rest = resting_heights()
    assert rest[sphere, cube] == pytest.approx(1.74, abs=0.03)
    assert rest[cube, cylinder] == pytest.approx(1.54, abs=0.03)


# What is seen


def test_project_is_the_way_back_from_directions():
    u, v = torch.tensor([-0.9, 0.0, 0.4]), torch.tensor([0.7, 0.0, -0.8])
    assert torch.allclose(project(eye() + 7 * directions(u, v)), torch.stack((u, v)), atol=1e-5)


def test_picture_format(batch):
    picture = render(batch[:2], 32)
    assert picture.shape == (2, 3, 32, 32) and picture.dtype == torch.float32
    assert picture.min() >= -1 and picture.max() <= 1 and picture.std() > 0.1


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_a_window_is_cut_out_of_the_whole(batch, supersample):
    whole = render(batch[:6], 64, supersample=supersample)
    part = render(batch[:6], 64, supersample=supersample, window=(11, 20, 37, 25))
    assert part.shape == (6, 3, 25, 37)
    assert torch.allclose(part, whole[:, :, 20:45, 11:48], atol=2e-3)


@pytest.mark.parametrize("window", [(-1, 0, 8, 8), (0, 0, 0, 8), (60, 0, 8, 8)])
def test_windows_outside_the_frame_are_refused(batch, window):
    with pytest.raises(ValueError, match="window"):
        render(batch[:1], 64, window=window)


def test_chunks_do_not_show(batch):
    whole = render(batch[:1], 800, supersample=1)  # more rays than one chunk holds
    band = render(batch[:1], 800, supersample=1, window=(0, 640, 800, 30))
    assert torch.allclose(whole[:, :, 640:670], band, atol=2e-3)


def test_a_small_picture_is_the_shrunken_large_one(batch):
    small, large = render(batch[:10], 48, supersample=4), render(batch[:10], 192)
    error = (small - torch.nn.functional.avg_pool2d(large, 4)).abs()
    assert error.mean() < 0.01 and error.quantile(0.99) < 0.12


def test_edge_supersampling_is_worth_full_supersampling(batch):
    full = torch.nn.functional.avg_pool2d(render(batch[:10], 128, supersample=1), 2)
    error = (render(batch[:10], 64, supersample=2) - full).abs()
    assert error.quantile(0.998) < 0.06 and error.mean() < 0.002


def seen_things(packed, side: int) -> torch.Tensor:
    """The thing (b, side, side) at every pixel's center, counted over the batch; -1 is background."""
    centers = pixel_centers(0, side, side)
    u, v = centers.repeat(side), (-centers).repeat_interleave(side)
    scene = torch.arange(len(packed)).repeat_interleave(side * side)
    hits = find_hits(packed, scene, directions(u, v).repeat(1, len(packed)), tolerance=0.006)
    things = torch.full_like(scene, -1)
    things[hits.ray] = hits.thing
    return things.view(-1, side, side)


def test_every_thing_is_seen_where_its_label_says(batch):
    part = batch[:200]
    packed = pack(part.scenes, part.seeds)
    things = seen_things(packed, 48)
    columns = torch.arange(48).expand(48, 48)
    for index, scene in enumerate(part.scenes):
        seen = [things[index] == index * MAX_THINGS + slot for slot in range(len(scene.things))]
        assert all(mask.sum() >= 12 for mask in seen), part.captions[index]
        edges = torch.cat((things[index][0], things[index][-1], things[index][:, 0], things[index][:, -1]))
        assert (edges < 0).all(), part.captions[index]
        if scene.layout_name in ("left", "right"):
            first, second = (columns[mask].float().mean() for mask in seen)
            assert (first < second) == (scene.layout_name == "left")


@pytest.mark.parametrize("backdrop", ["sunset", "night", "blue", "black"])
def test_a_gray_thing_stays_gray(backdrop):
    batch = describe_scenes([make_scene("one", backdrop, "gray sphere")], Random(1))
    seen = seen_things(pack(batch.scenes, batch.seeds), 64)[0] >= 0
    color = (render(batch, 64)[0][:, seen].mean(1) + 1) / 2
    assert color.max() - color.min() < 0.035


@pytest.mark.parametrize("color", ["white", "gray", "black", "red", "pink"])
def test_a_thing_stands_out_on_its_own_color(color):
    batch = describe_scenes([make_scene("one", color, f"{color} cube")], Random(2))
    seen = seen_things(pack(batch.scenes, batch.seeds), 64)[0] >= 0
    picture = render(batch, 64, supersample=1)[0]
    across = seen[:, 3:] != seen[:, :-3]
    steps = (picture[:, :, 3:] - picture[:, :, :-3]).abs().amax(0)[across]
    assert (steps > 0.04).float().mean() > 0.75


def test_every_letter_differs_from_every_other():
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    scenes = [make_scene("sign", "white", "blue sign", word=2 * letter) for letter in alphabet]
    batch = replace(describe_scenes(scenes, Random(0)), seeds=torch.zeros(26, dtype=torch.long))  # one pose for all
    letters = render(batch, 48, supersample=1, window=(8, 8, 32, 19)).flatten(1)
    apart = torch.cdist(letters, letters) + 1e3 * torch.eye(26)
    assert apart.min() > 1.0


def test_words_too_long_for_a_sign_are_refused():
    scene = make_scene("sign", "white", "blue sign", word="TOOLONG")
    with pytest.raises(ValueError, match="at most 6"):
        pack([scene], torch.zeros(1, dtype=torch.long))
