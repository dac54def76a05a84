"""Is what an image prompt draws judged as it should be: renders right, other scenes' wrong, each half by itself?"""

from __future__ import annotations

import argparse
import dataclasses
import json

import pytest
import torch

from imagen_core import AdapterSpec, load_stage, save_adapter
from imagen_train import cli
from imagen_train.control_plans import adapter_plan, image_prompt_plan
from imagen_train.controls import start_adapter
from imagen_train.data import drawings_folder
from imagen_train.decoding import alone, scenes_of, shown
from imagen_train.evaluate_image_prompt import (
    PAIRS,
    exchanged,
    half,
    half_mask,
    numbers,
    sides_judged,
)
from imagen_train.options import TrainOptions
from imagen_train.stickers.nearest import placed_in_rows
from imagen_train.stickers.pictures import open_library


def test_halves_are_right_for_their_own_thing_wherever_it_stands_and_wrong_for_the_others(drawings):
    library = open_library(drawings_folder())
    things = library.available(2)
    scenes = [
        dataclasses.replace(
            scene,
            placed=tuple(
                dataclasses.replace(each, color=None) for each in scene.placed
            ),  # squares of their own colours
        )
        for scene in scenes_of(library, 4, 2, mix=PAIRS, name="pairs")
    ]
    large = [torch.stack([shown(alone(scene, which), library) for scene in scenes]) for which in (0, 1)]
    halves = torch.cat([half(large[0], 0), half(large[1], 1)], -1)
    found = sides_judged({"halves": halves, "one": large[0]}, scenes, things, library)
    assert (
        found["halves"]["both"] == {"mean": 1.0, "se": 0.0, "count": 8} and found["halves"]["both_sides"]["count"] == 4
    )
    assert found["one"]["thing"]["mean"] == 0.5 and found["one"]["both_sides"]["mean"] == 0.0
    swapped = sides_judged({"halves": halves}, [exchanged(scene) for scene in scenes], things, library)
    assert swapped["halves"]["both"]["mean"] == 0.0
    masks = [half_mask(6, which) for which in (0, 1)]
    assert torch.equal(masks[0] + masks[1], torch.ones(1, 1, 6, 6)) and masks[0][..., :3].min() == 1


def test_how_many_there_are_is_told_of_one_and_of_several(drawings):
    library = open_library(drawings_folder())
    scene = alone(scenes_of(library, 1, 2, mix=PAIRS, name="pairs")[0])
    three = dataclasses.replace(scene, layout="several", placed=placed_in_rows(scene.placed[0], (1, 2)))
    pictures = torch.stack([shown(each, library) for each in (scene, three)])
    found = numbers({"right": pictures, "wrong": pictures.flip(0)}, [scene, three], library)
    assert found["right"]["mean"] == 1.0 and found["wrong"]["mean"] == 0.0


def test_one_command_says_it_all_and_refuses_what_is_no_image_prompt(lively, models, drawings, capsys):
    stage, options = (
        load_stage(lively),
        TrainOptions(state_dir=drawings, cache_dir=drawings, models_dir=models, max_steps=1),
    )
    files = {}
    for plan in (image_prompt_plan(lively), adapter_plan(lively, ("edges",))):
        network = start_adapter(plan, stage, options)
        files[plan.adapter] = drawings / f"{plan.adapter}.safetensors"
        save_adapter(files[plan.adapter], network, AdapterSpec.of(network, stage))
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    told = ["--base", str(lively), "--models-dir", str(models), "--count", "2", "--pairs", "1", "--steps", "1"]
    out = ["--pictures", str(drawings / "sheet.png"), "--weights", "1", "--unseen-colors"]

    def run(name):
        args = parser.parse_args(["evaluate", "image_prompt", *told, *out, "--image-prompt", str(files[name])])
        return args.handler(args)

    assert run("image_prompt") == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures["without_words"]) == ["reference", "no_reference", "another_scenes", "renders"]
    assert list(figures["beside_words"]) == ["weight_1", "words_alone", "another_scenes_reference", "renders"]
    assert {"thing", "color", "style", "backdrop", "number"} <= set(figures["beside_words"]["renders"])
    # An untrained image prompt changes nothing.
    assert figures["without_words"]["reference"] == figures["without_words"]["no_reference"]
    assert figures["two_by_masks"]["words_say_two"] == figures["two_by_masks"]["words_alone"]
    assert figures["two_by_masks"]["renders_apart"]["both_sides"] == {"mean": 1.0, "se": 0.0, "count": 1}
    assert figures["weight_0_equals_none"] == {"mean": 1.0, "se": 0.0, "count": 2}
    assert (drawings / "sheet.png").is_file()
    with pytest.raises(ValueError, match="is no image prompt that sees pictures"):
        run("t2i_adapter")
