"""Do thresholding and guidance of any MODEL do what they say at every step of ComfyUI's own KSampler?"""

import importlib

import pytest
import torch
from comfy import latent_formats

STEPS = 5


@pytest.fixture
def patches(pack):
    return importlib.import_module(f"{pack.__name__}.nodes._host.patches")


@pytest.fixture
def sample(run, host_conditioning):
    positive, negative = host_conditioning

    def draw(model, cfg=30.0, **changes):
        latent = {"samples": torch.zeros(2, 4, 8, 8)}
        settings = {"seed": 3, "steps": STEPS, "sampler_name": "euler", "scheduler": "normal", "cfg": cfg, **changes}
        drawn = run("KSampler", model=model, positive=positive, negative=negative, latent_image=latent, **settings)
        return drawn[0]["samples"]

    return draw


def deviations(picture, reference):
    means = reference.mean(dim=(2, 3), keepdim=True)
    return (picture - means).abs().flatten(1).amax(1)


@pytest.mark.parametrize("choices", [{}, {"percentile": 100.0}, {"method": "static"}, {"channels": "per_channel"}])
def test_high_cfg_stays_in_the_mimicked_range_at_every_step(run, sample, watch, host_model, choices):
    patched, seen = watch(run("ImagenThresholdModel", model=host_model, mimic_scale=5.0, **choices)[0])
    bounded, free = sample(patched), sample(host_model)
    assert len(seen) == STEPS
    excess = []
    for step in seen:
        cond, uncond = step["cond_denoised"], step["uncond_denoised"]
        mimicked, guided = (uncond.lerp(cond, scale) for scale in (5.0, 30.0))
        assert (deviations(step["denoised"], mimicked) <= deviations(mimicked, mimicked) * 1.0001).all()
        excess.append(bool((deviations(guided, mimicked) > 1.5 * deviations(mimicked, mimicked)).all()))
    assert any(excess), "cfg 30 burns without it"
    assert bounded.std() < 0.7 * free.std()


@pytest.mark.parametrize("choices", [{"method": "none"}, {"mimic_scale": 30.0}])
def test_where_it_has_nothing_to_do_the_picture_is_the_very_same(run, sample, host_model, choices):
    patched = run("ImagenThresholdModel", model=host_model, **{"mimic_scale": 5.0, **choices})[0]
    assert torch.equal(sample(patched), sample(host_model))


def test_at_cfg_1_nothing_changes_and_no_pass_is_added(run, sample, watch, host_model):
    patched, seen = watch(run("ImagenThresholdModel", model=host_model)[0])
    assert torch.equal(sample(patched, cfg=1.0), sample(host_model, cfg=1.0))
    assert [step["uncond"] for step in seen] == [None] * STEPS


def test_the_interval_is_kept_to(run, sample, watch, host_model):
    patched, seen = watch(run("ImagenThresholdModel", model=host_model, mimic_scale=5.0, start=0.3, end=0.7)[0])
    sample(patched, steps=10)
    to_sigma = host_model.get_model_object("model_sampling").percent_to_sigma
    inside = [to_sigma(0.7) <= step["sigma"] <= to_sigma(0.3) for step in seen]
    changed = [
        not torch.allclose(step["denoised"], step["uncond_denoised"].lerp(step["cond_denoised"], 30.0), rtol=1e-3)
        for step in seen
    ]
    assert changed == inside and any(inside) and not all(inside)


def test_the_original_model_is_left_alone(run, sample, host_model):
    before = sample(host_model)
    run("ImagenThresholdModel", model=host_model)
    run("ImagenGuidanceModel", model=host_model, rescale=0.7)
    assert torch.equal(sample(host_model), before)


@pytest.mark.parametrize("make, space", [(latent_formats.ChromaRadiance, "pixel"), (latent_formats.SD15, "latent"),
                                         (latent_formats.Flux, "latent")])  # fmt: skip
def test_auto_tells_pixel_models_from_latent_ones(patches, host_model, make, space):
    model = host_model.clone()
    model.add_object_patch("latent_format", make())
    assert patches.space_of(model) == space


def test_in_pixels_it_is_the_papers_thresholding(run, sample, watch, host_model, core):
    patched, seen = watch(run("ImagenThresholdModel", model=host_model, space="pixel", percentile=90.0)[0])
    sample(patched)
    paper = core.make_thresholding("dynamic", percentile=0.9)
    for step in seen:
        guided = step["uncond_denoised"] + 30.0 * (step["cond_denoised"] - step["uncond_denoised"])
        torch.testing.assert_close(step["denoised"], paper(guided), rtol=1e-4, atol=1e-4)


def test_guidance_outside_its_interval_costs_one_pass(run, sample, watch, host_model):
    patched, seen = watch(run("ImagenGuidanceModel", model=host_model, start=0.3, end=0.7)[0])
    sample(patched, steps=10)
    to_sigma = host_model.get_model_object("model_sampling").percent_to_sigma
    inside = [to_sigma(0.7) <= step["sigma"] <= to_sigma(0.3) for step in seen]
    assert [step["uncond"] is not None for step in seen] == inside
    assert any(inside) and not all(inside)
    assert all(
        torch.equal(step["denoised"], step["cond_denoised"]) for step, on in zip(seen, inside, strict=True) if not on
    )


def test_guidance_everywhere_without_rescale_is_the_hosts(run, sample, host_model):
    patched = run("ImagenGuidanceModel", model=host_model, start=0.0, end=1.0, rescale=0.0)[0]
    assert torch.equal(sample(patched), sample(host_model))


def test_rescale_restores_the_conditional_contrast(run, sample, watch, host_model):
    patched, seen = watch(run("ImagenGuidanceModel", model=host_model, start=0.0, end=1.0, rescale=1.0)[0])
    sample(patched)
    for step in seen:
        torch.testing.assert_close(step["denoised"].std(dim=(1, 2, 3)), step["cond_denoised"].std(dim=(1, 2, 3)))


def test_the_nodes_chain_with_each_other_and_with_the_hosts(run, sample, host_model):
    extras = importlib.import_module("comfy_extras.nodes_model_advanced")
    model = extras.RescaleCFG().patch(host_model, 0.7)[0]
    model = run("ImagenThresholdModel", model=run("ImagenGuidanceModel", model=model, rescale=0.5)[0])[0]
    assert torch.isfinite(sample(model)).all()


def test_an_interval_that_is_none_is_refused(run, host_model):
    with pytest.raises(ValueError, match="start at most end"):
        run("ImagenGuidanceModel", model=host_model, start=0.9, end=0.1)
    with pytest.raises(ValueError, match="0.9 to 0.1"):
        run("ImagenThresholdModel", model=host_model, start=0.9, end=0.1)
