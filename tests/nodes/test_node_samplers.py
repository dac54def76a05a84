"""A sampler with settings of its own, and a picture drawn again from its own noise."""

import pytest
import tiny_adm
import torch
from pack import CORE, NODES
from tiny_stages import tiny_prompt, tiny_stage

from imagen_host import runtime

BASE = {"seed": 3, "steps": 4, "guidance_scale": 1.0, "sampler": "ddpm", "width": 16, "height": 16, "batch_size": 1}
CHOICE = {"method": "ddpm", "eta": 0.0, "gamma": 0.0, "fixed": False, "respacing": ""}


def draw(schedule="discrete", **changes):
    stage = tiny_stage("base64", schedule)
    return NODES["ImagenBaseSample64"]().sample(stage, tiny_prompt(), **{**BASE, **changes})[0]


def options(**changes):
    return NODES["ImagenSampler"]().make(**{**CHOICE, **changes})[0]


def test_a_sampler_without_settings_is_the_one_chosen_in_the_node():
    assert torch.equal(draw(sampler_options=options()), draw())
    assert torch.equal(draw(sampler="heun", sampler_options=options()), draw())


def test_settings_reach_their_own_sampler():
    assert not torch.equal(draw(sampler_options=options(gamma=1.0)), draw())
    eta = {"method": "ddim", "eta": 1.0}
    assert not torch.equal(draw(sampler_options=options(**eta)), draw(sampler="ddim"))
    assert torch.equal(draw(sampler_options=options(method="ddim", gamma=1.0)), draw(sampler="ddim"))


def test_a_list_of_timesteps_fixes_the_number_of_steps():
    seen = []
    with runtime.use(runtime.Runtime(on_progress=lambda *progress: seen.append(progress[1:3]))):
        draw(sampler_options=options(respacing="3, 2,1"))
    assert seen == [(call, 6) for call in range(1, 7)]
    with pytest.raises(ValueError, match="unknown spacing '3;2'"):
        draw(sampler_options=options(respacing="3;2"))


def test_the_very_timesteps_in_brackets_are_called():
    steps = ", ".join(str(step) for step in (999, 666, 333, 0))
    assert torch.equal(
        draw(sampler_options=options(respacing=f"[{steps}]")), draw(sampler_options=options(respacing="4"))
    )
    assert not torch.equal(draw(sampler_options=options(respacing="[999, 500, 0]")), draw())


def test_a_consistency_model_is_drawn_by_its_own_sampler_alone(tmp_path):
    stage = CORE.load_stage(tiny_adm.written(tmp_path / "one.safetensors", "adm_diffusers"))
    asked = NODES["ImagenClassLabel"]().make("1")[0]
    settings = {**BASE, "width": 32, "height": 32, "steps": 1}

    def drawn(**changes):
        return NODES["ImagenBaseSample64"]().sample(stage, asked, **{**settings, **changes})[0]

    one = drawn(sampler="consistency")
    assert torch.equal(one, drawn(sampler_options=options(method="consistency", sigmas="80")))
    two = drawn(sampler_options=options(method="consistency", sigmas="80, 1.38"))
    assert one.shape == (1, 32, 32, 3) and (one - two).abs().max() > 1e-3
    with pytest.raises(ValueError, match="sampler ddpm: this stage is a consistency model; choose consistency"):
        drawn()
    with pytest.raises(ValueError, match="sampler consistency: this stage is no consistency model; choose ddim, ddpm"):
        draw(sampler="consistency")


def test_a_picture_comes_back_and_another_prompt_changes_it(capsys):
    stage, text = tiny_stage("base64"), tiny_prompt()
    other = CORE.Prompt(text=CORE.TextEmbeds(embeds=-3 * text.text.embeds, mask=text.text.mask))
    threshold = CORE.make_thresholding("none")
    image = NODES["ImagenBaseSample64"]().sample(stage, text, **{**BASE, "sampler": "ddim", "steps": 30})[0]
    redraw = NODES["ImagenRedraw"]().redraw
    same, back, report = redraw(stage, image, text, text, 30, 1.0, threshold)
    assert torch.equal(same, back) and back.shape == image.shape
    assert report.startswith("picture 0: comes back with ") and report in capsys.readouterr().out
    changed, _, _ = redraw(stage, image, text, other, 30, 1.0, threshold)
    assert not torch.equal(changed, back)  # random weights hardly react to text
