"""Does a picture learn the sentence that its scene is told in, and what prompts say themselves?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from imagen_core import load_adapter, load_text_encoder
from imagen_core.adapters.picture_words import SLOTS, slots_of
from imagen_core.clip.config import ClipConfig, VisionConfig
from imagen_core.clip.network import ClipNetwork
from imagen_train import cli, data
from imagen_train.picture_words import Told, slotted, stating
from imagen_train.stickers.mixes import WIDE
from imagen_train.stickers.names import things
from imagen_train.stickers.scene import Placed, Scene


def scene(**changes):
    red = Placed(thing=3, color="red", x=0.5, y=0.5, size=0.8, flipped=False)
    return dataclasses.replace(Scene("one", "cartoon", (red,), "pink", False, 1), **changes)


def test_a_scene_is_told_part_by_part():
    noun = things()[3].noun
    told = Told.of(scene(), things())
    assert told.sentence == f"{told.all}, cartoon on a pink background" and told.one == told.all
    assert told.all.endswith(f" red {noun}")
    many = Told.of(scene(layout="several", placed=scene().placed * 3, backdrop="night"), things())
    assert many.all == f"three red {things()[3].plural}" and many.one == told.one and many.backdrop == " at night"
    both = scene(layout="pair", placed=(*scene().placed, dataclasses.replace(scene().placed[0], color=None, thing=5)))
    both = Told.of(dataclasses.replace(both, relation="left"), things())
    assert both.all == f"{told.one} to the left of {things()[5].head}" and both.one == told.one


def test_tokens_lie_in_the_slots_of_what_they_say(models):
    encoder = load_text_encoder(models / "text_encoder")
    told = Told.of(scene(), things())
    read = encoder.encode([told.sentence, told.one])
    rows = {text: row[mask] for text, row, mask in zip((told.sentence, told.one), read.embeds, read.mask, strict=True)}
    tokens, there = slotted(told, rows, encoder)
    sentence = rows[told.sentence]
    ends = [len(encoder.tokenizer.ids(text)) for text in (told.all, f"{told.all}{told.style}", told.sentence)]
    start = len(sentence) - 1 - ends[-1]
    for name, begin, end in zip(("all", "style", "backdrop"), (0, *ends[:-1]), ends, strict=True):
        kept, where = min(end - begin, SLOTS[name]), slots_of(name)
        assert there[where].tolist() == [True] * kept + [False] * (SLOTS[name] - kept)
        assert torch.equal(tokens[where][:kept], sentence[start + begin : start + begin + kept])
    assert torch.equal(tokens[slots_of("last")], sentence[-1:]) and torch.equal(tokens[~there], 0 * tokens[~there])


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
    assert loaded.network.there.weight.abs().max() > 0
    seen = loaded.network.tower.state_dict()
    for name, weight in clip.vision_model.state_dict().items():
        torch.testing.assert_close(seen[name], weight, atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="name one with --clip"):
        parser.parse_args([*command, "--pictures", "known"]).handler(
            parser.parse_args([*command, "--pictures", "known"])
        )
    args = parser.parse_args([*command, "--pictures", "unknown", "--clip", str(file)])
    with pytest.raises(ValueError, match="pictures of known things"):
        args.handler(args)
