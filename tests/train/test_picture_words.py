"""Does a picture learn the sentence that its scene is told in, and what prompts say themselves?"""

from __future__ import annotations

import argparse
import json
import shutil
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from imagen_core import build_adapter, load_adapter, load_stage, load_text_encoder
from imagen_core.adapters.picture_words import PARTS, PictureWordsConfig
from imagen_core.clip.config import ClipConfig, VisionConfig
from imagen_core.clip.network import ClipNetwork
from imagen_train import cli, data
from imagen_train.clip_pictures import COLOR, COUNT, FACTS, THING
from imagen_train.phrases import PAINTED, phrases, sizes, told_things
from imagen_train.picture_words import _facts, learn_words, stating
from imagen_train.stickers.backdrops import NAMES
from imagen_train.stickers.colors import COLORS
from imagen_train.stickers.mixes import WIDE
from imagen_train.stickers.names import things
from imagen_train.stickers.scene import STYLES


def test_phrases_are_in_the_order_of_scenes_facts():
    told = phrases()
    assert [phrase.text for phrase in told["thing"]] == [thing.noun for thing in things() if thing.tier <= 2]
    assert [phrase.text for phrase in told["number"]] == ["a", "two", "three", "four", "five"]
    assert told["color"][0].text == "" and told["color"][1 + COLORS.index("red")].whole()[1] == "a red fox"
    assert told["style"][STYLES.index("flat")].whole() == ["a red fox, flat design"]
    assert told["backdrop"][NAMES.index("pink")].whole() == ["a fox, cartoon on a pink background"]
    assert told["thing"][3].sentences()[1] == ("a blue", f"a blue {things()[3].noun}")
    assert sizes()["thing"][0] == len(told_things()) == 521 and list(sizes()) == list(PARTS)


def test_a_network_takes_over_phrases_as_they_are_read(lively, models):
    encoder, stage = load_text_encoder(models / "text_encoder"), load_stage(lively)
    config = PictureWordsConfig(**PictureWordsConfig.tiny | sizes())
    network = build_adapter("picture_words", config, stage.spec.unet_config)

    def read(texts):
        encoded = encoder.encode(texts)
        return [row[mask] for row, mask in zip(encoded.embeds, encoded.mask, strict=True)]

    learn_words(network, encoder, read)
    assert network.marked.tolist() == [0.0, 1.0]  # T5 has a mark at the end alone
    (sentence,) = read(["a fox, cartoon on a pink background"])
    behind = sentence[len(encoder.tokenizer.ids("a fox, cartoon")) : -1]
    part, place = network.parts["backdrop"], NAMES.index("pink")
    kept = min(len(behind), part.there.shape[1])
    assert part.there[place].sum() == kept and torch.equal(part.phrases[place, :kept], behind[:kept])
    assert torch.equal(network.marks[1], read(["a fox"])[0][-1])
    (red, blue, *others) = read([f"a {color} {things()[3].noun}" for color in PAINTED])
    start, kept = len(encoder.tokenizer.ids("a red")), int(network.parts["thing"].there[3].sum())
    mean = torch.stack([row[len(row) - 1 - (len(red) - 1 - start) : -1] for row in (red, blue, *others)]).mean(0)
    torch.testing.assert_close(network.parts["thing"].phrases[3, :kept], mean[:kept])
    assert network.parts["color"].there[0].sum() == 0  # of its own colour nothing is said


def test_what_is_right_of_a_picture():
    facts = torch.full((2, len(FACTS)), -1)
    facts[:, COUNT], facts[0, COLOR], facts[:, THING] = torch.tensor([1, 3]), 4, 7
    right = _facts(facts)
    assert (
        right["number"].tolist() == [0, 2] and right["color"].tolist() == [5, 0] and right["thing"].tolist() == [7, 7]
    )


def test_things_that_nobody_is_shown_have_no_phrase():
    facts = torch.full((2, len(FACTS)), -1)
    facts[:, THING] = torch.tensor([600, len(things()) - 1])
    assert things()[600].tier == 3 and _facts(facts)["thing"].tolist() == [-100, len(told_things()) - 1]


def test_prompts_that_name_nothing_are_known_for_what_they_say():
    rng = Random(0)
    found = {stating(rng) for _ in range(400)}
    assert {said for _, said in found} >= {(True, True, True), (True, False, False), (False, False, True)}
    for text, (number, style, backdrop) in found:
        assert text and (number or style or backdrop)
        assert style or not any(word in text.lower() for word in ("cartoon", "3d", "flat")), text
        assert number == any(word in text.split() or f"{word}," in text.split() for word in ("it", "this", "them")), (
            text
        )


def clip_file(folder):
    """A CLIP's vision tower of random weights in one file."""
    vision = VisionConfig(width=64, layers=1, heads=1, mlp=32, side=32, patch=8)
    network = ClipNetwork(ClipConfig(vision=vision, vision_embed_dim=16))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_file(network.state_dict(), folder / "clip.safetensors")
    return folder / "clip.safetensors", network


def test_one_command_learns_it(lively, models, drawings, monkeypatch):
    file, clip = clip_file(drawings)
    for name, mix in (("known", WIDE), ("unknown", None)):
        kind = data.DrawingKind(name=name, side=64, chunk=8, mix=mix or WIDE)
        monkeypatch.setitem(data.KINDS, name, kind)
        data.render_pictures(kind, 8, drawings / "cache")
    labels = drawings / "cache" / "unknown" / "00000.json"
    labels.write_text(json.dumps(json.loads(labels.read_text()) | {"labels": {}}))
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    out = drawings / "models"
    shutil.copytree(models / "text_encoder", out / "text_encoder")
    where = ["--state-dir", str(drawings), "--cache-dir", str(drawings / "cache"), "--models-dir", str(out)]
    told = ["--base", str(lively), "--max-steps", "3", "--batch-size", "6", "--words", "--preview-minutes", "inf"]
    command = ["train", "image_prompt", *told, *where]
    args = parser.parse_args([*command, "--pictures", "known", "--clip", str(file)])
    assert args.handler(args) == 0
    loaded = load_adapter(out / "image_prompt.safetensors")
    assert loaded.spec.name == "picture_words" and loaded.spec.training["clip"] == "clip.safetensors"
    assert loaded.network.parts["thing"].fit.weight.abs().max() > 0
    assert loaded.network.parts["thing"].there.sum() > len(things())
    seen = loaded.network.tower.state_dict()
    moved = [(seen[name] - weight).abs().max() for name, weight in clip.vision_model.state_dict().items()]
    assert 0.0 < max(moved) < 1.0  # it began as the CLIP's tower, and learns
    with pytest.raises(ValueError, match="name one with --clip"):
        parser.parse_args([*command, "--pictures", "known"]).handler(
            parser.parse_args([*command, "--pictures", "known"])
        )
    args = parser.parse_args([*command, "--pictures", "unknown", "--clip", str(file)])
    with pytest.raises(ValueError, match="pictures of known things"):
        args.handler(args)
