"""Do whole pictures of DeepFloyd IF's two stages equal those of diffusers' pipelines, from the same noise?

Tiny stages with random weights in the published layout. Both libraries draw their noise in the same order, so a seed is
one picture in both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    IFImg2ImgPipeline,
    IFImg2ImgSuperResolutionPipeline,
    IFInpaintingPipeline,
    IFPipeline,
    IFSuperResolutionPipeline,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import SCHEDULER, save_folder, text_states, tiny_unet

from imagen_core import Draw, InitImage, Prompt, TextEmbeds, load_stage, sample_base, super_resolve
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.inpainting import shortened
from imagen_core.samplers import time_grid
from imagen_core.samplers.ddpm import DDPM
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.samplers.spacing import RESPACINGS, respace
from imagen_core.sampling import default_spacing, default_thresholding

PICTURE = {"base64": 2e-3, "sr256": 5e-3}
SEEDS = (11, 12)
COND, NEGATIVE = text_states(2, seed=5), text_states(2, seed=6)
MAXIMUM = {"base64": 1.5, "sr256": 1.0}


@pytest.fixture(scope="module")
def theirs():
    return {stage: tiny_unet(stage) for stage in PICTURE}


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("if")
    return {stage: load_stage(save_folder(folder / stage, stage, unet)) for stage, unet in theirs.items()}


def pipeline(kind, stage, unet):
    scheduler = DDPMScheduler.from_config(SCHEDULER | {"sample_max_value": MAXIMUM[stage]})
    parts = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor", "watermarker"))
    if "SuperResolution" in kind.__name__:
        parts["image_noising_scheduler"] = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    pipe = kind(**parts, unet=unet, scheduler=scheduler, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run_theirs(pipe, *, guidance=7.0, seeds=SEEDS, **settings):
    return pipe(
        prompt_embeds=COND[: len(seeds)],
        negative_prompt_embeds=NEGATIVE[: len(seeds)],
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="pt",
        **settings,
    ).images.clamp(-1, 1)


def prompt(count=2) -> Prompt:
    def embeds(states):
        return TextEmbeds(embeds=states[:count], mask=torch.ones(count, 77, dtype=torch.bool))

    return Prompt(text=embeds(COND), negative=embeds(NEGATIVE))


def as_if(guidance=7.0, seeds=SEEDS, steps=1, sampler=None, aug_level=None, **settings) -> dict:
    guided = ClassifierFreeGuidance(scale=guidance)
    draw = Draw(seeds=seeds, steps=steps, sampler=sampler or DDPM(), guidance=guided, **settings)
    return {"prompt": prompt(len(seeds)), "draw": draw} | ({} if aug_level is None else {"aug_level": aug_level})


def small_pictures(height=4, width=4):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(4)) * 2 - 1


def largest_difference(a, b) -> float:
    assert a.shape == b.shape and b.std() > 0.05
    return (a - b).abs().max().item()


# ---- stage I ----


@pytest.mark.parametrize("spacing", ["smart27", 10])
def test_stage_i(ours, theirs, spacing):
    """Two prompts with their negative prompts."""
    name, steps = (spacing, 1) if isinstance(spacing, str) else ("uniform", spacing)
    timesteps = respace(RESPACINGS[spacing] if name == spacing else (steps,))
    expected = run_theirs(pipeline(IFPipeline, "base64", theirs["base64"]), height=16, width=16, timesteps=timesteps)
    got = sample_base(ours["base64"], height=16, width=16, **as_if(spacing=name, steps=steps))
    assert largest_difference(got, expected) < PICTURE["base64"]


def test_stage_i_at_its_own_size_and_not_square(ours, theirs):
    for height, width in ((64, 64), (16, 40)):
        expected = run_theirs(
            pipeline(IFPipeline, "base64", theirs["base64"]),
            height=height,
            width=width,
            timesteps=respace((4,)),
            seeds=(7,),
        )
        got = sample_base(ours["base64"], height=height, width=width, **as_if(steps=4, seeds=(7,)))
        assert largest_difference(got, expected) < PICTURE["base64"]


@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_stage_i_with_and_without_guidance(ours, theirs, guidance):
    pipe = pipeline(IFPipeline, "base64", theirs["base64"])
    expected = run_theirs(pipe, height=16, width=16, timesteps=respace((6,)), guidance=guidance)
    got = sample_base(ours["base64"], height=16, width=16, **as_if(steps=6, guidance=guidance))
    assert largest_difference(got, expected) < PICTURE["base64"]


def test_the_checkpoints_own_defaults_are_ifs(ours, theirs):
    """Nobody chose a threshold or a spacing: 95 %, at most 1.5 and 1; smart100 at 100 steps, plain N at others."""
    for stage, steps in (("base64", 100), ("sr256", 50)):
        limits = default_thresholding(ours[stage])
        assert (limits.percentile, limits.maximum) == (0.95, MAXIMUM[stage])
        assert default_spacing(ours[stage], DDPM(), steps) == f"smart{steps}"
        assert default_spacing(ours[stage], DDPM(), steps - 1) == "uniform"
        assert default_spacing(ours[stage], DPMPP2M(), steps) == "logsnr"
    pipe = pipeline(IFPipeline, "base64", theirs["base64"])
    expected = run_theirs(pipe, height=16, width=16, timesteps=respace((9,)), seeds=(3,))
    got = sample_base(ours["base64"], height=16, width=16, **as_if(steps=9, seeds=(3,)))
    assert largest_difference(got, expected) < PICTURE["base64"]


def test_one_prompt_for_a_batch_is_that_prompt_for_each(ours):
    one = sample_base(ours["base64"], height=16, width=16, **as_if(steps=5) | {"prompt": prompt(1)})
    alone = sample_base(ours["base64"], height=16, width=16, **as_if(steps=5, seeds=SEEDS[1:]))
    assert largest_difference(one[1:], alone) < PICTURE["base64"]


# ---- stage II ----


@pytest.mark.parametrize(("spacing", "noise_level"), [("super27", 250), (6, 0)])
def test_stage_ii(ours, theirs, spacing, noise_level):
    name, steps = (spacing, 1) if isinstance(spacing, str) else ("uniform", spacing)
    timesteps = respace(RESPACINGS[spacing] if name == spacing else (steps,))
    pipe = pipeline(IFSuperResolutionPipeline, "sr256", theirs["sr256"])
    small = small_pictures()
    expected = run_theirs(
        pipe, image=small, height=16, width=16, timesteps=timesteps, noise_level=noise_level, guidance=4.0
    )
    settings = as_if(spacing=name, steps=steps, guidance=4.0, aug_level=noise_level / 1000)
    assert largest_difference(super_resolve(ours["sr256"], small, **settings), expected) < PICTURE["sr256"]


def test_stage_ii_not_square(ours, theirs):
    """At t = 999 x_0 is 20,291 times eps: where a pixel's x_0 lies inside [-1, 1] there, a difference of 1e-5 between two
    exact networks becomes 0.2, and random weights make another picture of it. These inputs have no such pixel.
    """
    pipe = pipeline(IFSuperResolutionPipeline, "sr256", theirs["sr256"])
    small = small_pictures(4, 12)
    expected = run_theirs(
        pipe, image=small, height=16, width=48, timesteps=respace((8,)), noise_level=250, guidance=4.0
    )
    got = super_resolve(ours["sr256"], small, **as_if(steps=8, guidance=4.0, aug_level=0.25))
    assert largest_difference(got, expected) < PICTURE["sr256"]


def test_stage_ii_reads_the_small_picture_in_its_full_range(ours):
    """The one node pack that there was fed it [0, 1] where the network knows [-1, 1]."""
    settings = as_if(steps=4, guidance=4.0)
    small = small_pictures()
    got, washed_out = (super_resolve(ours["sr256"], image, **settings) for image in (small, small / 2 + 0.5))
    assert largest_difference(got, washed_out) > 0.1


@pytest.mark.parametrize(("height", "width"), [(5, 5), (3, 7)])
def test_sides_that_the_network_cannot_halve_are_padded_and_cropped(ours, height, width):
    """diffusers fails there: 20 or 28 pixels cannot be halved four times."""
    got = super_resolve(ours["sr256"], small_pictures(height, width), **as_if(steps=3))
    assert got.shape == (2, 3, 4 * height, 4 * width) and got.isfinite().all()


# ---- from a picture ----


@pytest.mark.parametrize("strength", [0.7])
def test_img2img(ours, theirs, strength):
    """Their list of timesteps cut to ours: theirs starts at a list's entry, ours at the strength itself."""
    stage, picture = ours["base64"], small_pictures(16, 16)
    times = shortened(time_grid(stage.schedule, 12), strength, stage.schedule)
    timesteps = (times * 999).round().int().tolist()
    assert timesteps[0] == round(strength * 999)
    pipe = pipeline(IFImg2ImgPipeline, "base64", theirs["base64"])
    expected = run_theirs(pipe, image=picture, timesteps=timesteps, strength=1.0)
    init = InitImage(pixels=picture, strength=strength)
    got = sample_base(stage, height=16, width=16, **as_if(steps=12, init=init))
    assert largest_difference(got, expected) < PICTURE["base64"]


def test_img2img_of_stage_ii(ours, theirs):
    """As theirs, but for the order in which the two noises are drawn: both are pinned by drawing them alike."""
    stage, picture, small = ours["sr256"], small_pictures(16, 16), small_pictures()
    times = shortened(time_grid(stage.schedule, 9), 0.8, stage.schedule)
    pipe = pipeline(IFImg2ImgSuperResolutionPipeline, "sr256", theirs["sr256"])
    expected = run_theirs(
        pipe,
        image=small,
        original_image=picture,
        timesteps=(times * 999).round().int().tolist(),
        strength=1.0,
        noise_level=250,
        guidance=4.0,
    )
    init = InitImage(pixels=picture, strength=0.8)
    got = super_resolve(stage, small, **as_if(steps=9, guidance=4.0, aug_level=0.25, init=init))
    assert largest_difference(got, expected) < PICTURE["sr256"]


def test_inpainting_everything(ours, theirs):
    """Where the mask is white everywhere both libraries mean the same."""
    stage, picture = ours["base64"], small_pictures(16, 16)
    white = torch.ones(2, 1, 16, 16)
    times = shortened(time_grid(stage.schedule, 9), 0.9, stage.schedule)
    pipe = pipeline(IFInpaintingPipeline, "base64", theirs["base64"])
    timesteps = (times * 999).round().int().tolist()
    expected = run_theirs(pipe, image=picture, mask_image=white.clone(), timesteps=timesteps, strength=1.0)
    init = InitImage(pixels=picture, mask=white, strength=0.9)
    got = sample_base(stage, height=16, width=16, **as_if(steps=9, init=init))
    assert largest_difference(got, expected) < PICTURE["base64"]


@pytest.mark.parametrize("sampler", [DDPM(), DPMPP2M()], ids=lambda sampler: sampler.name)
def test_inpainting_a_part_keeps_the_rest_as_theirs_does(ours, theirs, sampler):
    """Only what is kept can be compared: theirs pastes it without noise at every level, ours is noisy as the rest is."""
    picture, mask = small_pictures(16, 16), torch.zeros(2, 1, 16, 16)
    mask[..., 4:12, 6:] = 1.0
    pipe = pipeline(IFInpaintingPipeline, "base64", theirs["base64"])
    expected = run_theirs(pipe, image=picture, mask_image=mask.clone(), timesteps=respace((5,)), strength=1.0)
    init = InitImage(pixels=picture, mask=mask, resample=2)
    settings = as_if(steps=5, init=init, sampler=sampler)
    got = sample_base(ours["base64"], height=16, width=16, **settings)
    kept = (mask == 0.0).expand_as(got)
    assert torch.equal(got[kept], picture[kept]) and largest_difference(got[kept], expected[kept]) < 1e-6
    assert (got - picture).abs()[~kept].mean() > 0.05
