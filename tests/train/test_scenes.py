"""Are scenes drawn and put into words as promised, and is training kept apart from the held-out set?"""

import re
from random import Random

import pytest
import torch

from imagen_train.scenes import render, sample_captions, sample_scenes, scene_from_names
from imagen_train.scenes import vocabulary as words
from imagen_train.scenes.captions import write_caption
from imagen_train.scenes.packing import pack
from imagen_train.scenes.vocabulary import SHAPES, is_held_out

FORMS = range(len(SHAPES))


@pytest.fixture(scope="module")
def batch():
    return sample_scenes(2500, seed=0)


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
    scene = scene_from_names(layout, backdrop, things, "HELLO" if layout == "sign" else None)
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


@pytest.mark.parametrize("things", [["red table"], ["red"], ["cube"]])
def test_misspelled_things_are_refused(things):
    with pytest.raises(ValueError, match="red|cube"):
        scene_from_names("one", "blue", things)


def test_misspelled_backdrops_are_refused():
    with pytest.raises(ValueError, match="sunset.*'dawn'"):
        scene_from_names("one", "dawn", ["red cube"])
