"""Does a stage as a MODEL draw what our own samplers draw, and do ComfyUI's own tools work on it?"""

import comfy.samplers
import latent_preview
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy_extras.nodes_chroma_radiance import EmptyChromaRadianceLatentImage
from safetensors.torch import save_file

SCHEDULES = {
    "cosine": {"name": "cosine", "logsnr_min": -3.0, "logsnr_max": 8.0},  # not so noisy that random weights burn
    "linear": {"name": "linear", "logsnr_min": -3.0},
    "flow": {"name": "flow", "logsnr_min": -3.0, "logsnr_max": 8.0},
    "discrete": {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000},
}
STEPS = 6


class GivenNoise:
    """A NOISE of SamplerCustomAdvanced that is our own."""

    seed = 0

    def __init__(self, noise):
        self.noise = noise

    def generate_noise(self, latent):
        return self.noise


@pytest.fixture
def sample(run):
    """sample(model, positive, negative, ...) through ComfyUI's KSampler -> pixels (b 3 h w)."""

    def draw(model, positive, negative, *, latent=None, side=16, batch=1, **settings):
        latent = latent or run("ImagenEmptyPixels", width=side, height=side, batch_size=batch)[0]
        chosen = {"seed": 5, "steps": STEPS, "cfg": 2.0, "sampler_name": "dpmpp_2m", "scheduler": "exponential"}
        inputs = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
        return run("KSampler", **inputs, **{**chosen, **settings})[0]["samples"]

    return draw


@pytest.fixture
def sample_ours(core, prompt):
    def draw(stage, *, seed=5, batch=1, scale=2.0, sampler="dpmpp_2m", threshold="none", **settings):
        return core.sample_base(
            stage,
            prompt,
            core.Draw(
                seeds=range(seed, seed + batch),
                steps=STEPS,
                sampler=core.SAMPLERS[sampler](),
                guidance=core.make_guidance(scale=scale, **settings),
                thresholding=core.make_thresholding(threshold),
            ),
            height=16,
            width=16,
        )

    return draw


def assert_same(theirs, ours):
    torch.testing.assert_close(theirs.clamp(-1, 1), ours, rtol=0, atol=1e-3)
    assert ours.std() > 0.05 and (ours.abs() < 0.999).float().mean() > 0.1, "a flat or a burned picture proves nothing"


@pytest.mark.parametrize("schedule", ["cosine", "linear", "flow"])
@pytest.mark.parametrize("prediction_type", ["eps", "v", "x_0", "flow"])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_ksampler_draws_what_our_sampler_draws(
    run, sample, sample_ours, make_stage, prompt, schedule, prediction_type, cfg
):
    stage = make_stage(prediction_type=prediction_type, schedule=SCHEDULES[schedule])
    assert_same(sample(*run("ImagenToModel", unet=stage, text=prompt), cfg=cfg), sample_ours(stage, scale=cfg))


def test_a_consistency_model_draws_in_one_step_of_lcm(run, core, sample, make_stage, prompt):
    stage = make_stage(prediction_type="consistency", schedule={"name": "edm"})
    one = {"steps": 1, "cfg": 1.0, "sampler_name": "lcm", "scheduler": "exponential"}
    theirs = sample(*run("ImagenToModel", unet=stage, text=prompt), **one)
    settings = {"guidance": core.make_guidance(scale=1.0), "thresholding": core.make_thresholding("none")}
    draw = core.Draw(seeds=[5], steps=1, sampler=core.SAMPLERS["consistency"](), **settings)
    ours = core.sample_base(stage, prompt, draw, height=16, width=16)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
    assert ours.std() > 0.02  # c_out leaves half of what random weights put out


CONTINUOUS = {"prediction_type": "v", "schedule": SCHEDULES["cosine"]}
DISCRETE = {"prediction_type": "eps", "schedule": SCHEDULES["discrete"]}


@pytest.mark.parametrize(
    "theirs, ours, kind",
    [
        ("euler", "ddim", CONTINUOUS),
        ("heun", "heun", CONTINUOUS),
        ("euler", "ddim", DISCRETE),
        ("ddim", "ddim", DISCRETE),
        ("dpmpp_2m", "dpmpp_2m", DISCRETE),
        ("dpmpp_2m", "dpmpp_2m", {**DISCRETE, "learned_variance": True}),
    ],
)
def test_other_samplers_agree_on_the_same_grid(run, core, make_stage, prompt, theirs, ours, kind):
    """The grid is given as SIGMAS, the noise as NOISE, to SamplerCustomAdvanced."""
    stage = make_stage("base64", **kind)
    sampler = core.SAMPLERS[ours]()
    grid = sampler.times(stage.schedule, STEPS, "logsnr")
    sigmas = torch.cat([core.t_to_sigma_ve(stage.schedule, grid), torch.zeros(1)]).float()
    model, positive, negative = run("ImagenToModel", unet=stage, text=prompt)
    noise = core.BatchNoise([9])((3, 16, 16))
    guider = comfy.samplers.CFGGuider(run("ImagenThresholdModel", model=model)[0])  # or eps at that much noise burns
    guider.set_conds(positive, negative)
    guider.set_cfg(2.0)
    drawn = run(
        "SamplerCustomAdvanced",
        noise=GivenNoise(noise),
        guider=guider,
        sampler=comfy.samplers.sampler_object(theirs),
        sigmas=sigmas,
        latent_image={"samples": torch.zeros_like(noise)},
    )[0]["samples"]
    guided = {"guidance": core.make_guidance(scale=2.0), "thresholding": core.make_thresholding("dynamic")}
    draw = core.Draw(seeds=[9], steps=STEPS, sampler=sampler, spacing="logsnr", **guided)
    expected = core.sample_base(stage, prompt, draw, height=16, width=16)
    assert_same(drawn, expected)


def test_karras_is_our_karras(run, core, sample, make_stage, prompt):
    stage = make_stage()
    guided = {"guidance": core.make_guidance(scale=2.0), "thresholding": core.make_thresholding("none")}
    draw = core.Draw(seeds=[5], steps=STEPS, spacing="karras", **guided)
    expected = core.sample_base(stage, prompt, draw, height=16, width=16)
    assert_same(sample(*run("ImagenToModel", unet=stage, text=prompt), scheduler="karras"), expected)


@pytest.mark.parametrize("aug_level", [0.0, 0.3])
@pytest.mark.parametrize("prediction_type", ["eps", "v"])
def test_super_resolution_draws_what_ours_draws(run, core, sample, make_stage, aug_level, prediction_type):
    stage = make_stage("sr256", prediction_type)
    image = torch.rand(1, 5, 7, 3, generator=torch.Generator().manual_seed(2))
    model = run("ImagenToModel", unet=stage, low_res=image, aug_level=aug_level, aug_seed=5)
    latent = run("ImagenEmptyPixels", width=28, height=20)[0]
    draw = core.Draw(seeds=[5], steps=STEPS, thresholding=core.make_thresholding("none"))
    expected = core.super_resolve(stage, image.movedim(-1, 1) * 2 - 1, None, draw, factor=4, aug_level=aug_level)
    assert_same(sample(*model, latent=latent, cfg=1.0), expected)


@pytest.mark.parametrize("kind", ["base64", "sr256"])
def test_deepfloyd_if_draws_what_ours_draws(run, core, sample, make_deepfloyd, padded_prompt, kind):
    """77 tokens, learned variance, discrete timesteps; the second stage enlarges and noises in its own way."""
    stage = make_deepfloyd(kind)
    grid = {"steps": STEPS, "seeds": [5], "spacing": "logsnr", "guidance": core.make_guidance(scale=3.0)}
    grid["thresholding"] = core.make_thresholding("dynamic", percentile=0.95, maximum=1.5)
    if kind == "base64":
        expected, picture = core.sample_base(stage, padded_prompt, core.Draw(**grid), height=16, width=16), {}
    else:
        small = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(2))
        expected = core.super_resolve(stage, small.movedim(-1, 1) * 2 - 1, padded_prompt, core.Draw(**grid))
        picture = {"low_res": small, "aug_level": 0.0, "aug_seed": 5}
    model, positive, negative = run("ImagenToModel", unet=stage, text=padded_prompt, **picture)
    model = run("ImagenThresholdModel", model=model, percentile=95.0, maximum=1.5)[0]
    times = core.SAMPLERS["dpmpp_2m"]().times(stage.schedule, STEPS, "logsnr")
    sigmas = torch.cat([core.t_to_sigma_ve(stage.schedule, times), torch.zeros(1)]).float()
    inputs = {"model": model, "positive": positive, "negative": negative, "sigmas": sigmas, "cfg": 3.0}
    inputs |= {"add_noise": True, "noise_seed": 5, "sampler": comfy.samplers.sampler_object("dpmpp_2m")}
    latent = run("ImagenEmptyPixels", width=16, height=16)[0]
    assert_same(run("SamplerCustom", latent_image=latent, **inputs)[0]["samples"], expected)


def test_thresholded_high_cfg_draws_what_ours_draws(run, sample, sample_ours, make_stage, prompt):
    stage = make_stage(prediction_type="v")
    model, *conds = run("ImagenToModel", unet=stage, text=prompt)
    thresholded = run("ImagenThresholdModel", model=model)[0]
    ours = sample_ours(stage, scale=20.0, threshold="dynamic")
    assert_same(sample(thresholded, *conds, cfg=20.0), ours)
    free = sample(model, *conds, cfg=20.0)
    assert free.abs().max() > 1.5 and not torch.allclose(free.clamp(-1, 1), ours, atol=0.05)


def test_guidance_in_an_interval_draws_what_ours_draws(run, sample, sample_ours, make_stage, prompt):
    stage = make_stage(prediction_type="v")
    model, *conds = run("ImagenToModel", unet=stage, text=prompt)
    limited = run("ImagenGuidanceModel", model=model, start=0.3, end=0.7, rescale=0.7)[0]
    ours = sample_ours(stage, scale=8.0, start=0.3, end=0.7, rescale=0.7)
    assert_same(sample(limited, *conds, cfg=8.0), ours)
    assert not torch.allclose(ours, sample_ours(stage, scale=8.0), atol=1e-2)


def test_prompts_of_other_lengths_run_as_one_pass(run, sample, make_stage, prompt):
    model, positive, negative = run("ImagenToModel", unet=make_stage(), text=prompt)
    assert positive[0][0].shape[1] != negative[0][0].shape[1]
    rows = []
    model.set_model_unet_function_wrapper(
        lambda apply, options: (
            rows.append(len(options["input"])) or apply(options["input"], options["timestep"], **options["c"])
        )
    )
    sample(model, positive, negative, batch=3)
    assert rows == [6] * STEPS


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_every_scheduler_makes_a_grid(run, make_stage, prompt, scheduler, schedule):
    model = run("ImagenToModel", unet=make_stage(schedule=SCHEDULES[schedule]), text=prompt)[0]
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, 10)
    assert (sigmas.diff() < 0).all() and sigmas[-1] == 0.0
    assert sigmas[0] <= float(sampling.sigma_max) * 1.001


@pytest.mark.parametrize("sampler_name", comfy.samplers.SAMPLER_NAMES)
def test_every_sampler_draws(run, sample, make_stage, prompt, sampler_name):
    model = run("ImagenToModel", unet=make_stage(), text=prompt)
    assert torch.isfinite(sample(*model, sampler_name=sampler_name, scheduler="karras", steps=3)).all()


def lora_of(stage, path):
    """A LoRA of rank 2 for one linear and one convolution, and what it adds to their weights."""
    generator = torch.Generator().manual_seed(6)
    weights = stage.unet.state_dict()
    linear = next(key for key, value in weights.items() if value.ndim == 2 and "text" in key)
    conv = next(key for key, value in weights.items() if value.ndim == 4 and value.shape[-1] == 3)
    tensors, added = {}, {}
    for key in (linear, conv):
        flat = weights[key].flatten(1)
        up, down = (torch.randn(*shape, generator=generator) * 0.5 for shape in ((len(flat), 2), (2, flat.shape[1])))
        name = f"diffusion_model.{key.removesuffix('.weight')}"
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(1.0)}
        tensors[f"{name}.lora_down.weight"] = down.reshape(2, *weights[key].shape[1:])
        if weights[key].ndim == 4:
            tensors[f"{name}.lora_up.weight"] = up[..., None, None]
        added[key] = (up @ down).reshape(weights[key].shape) * (1.0 / 2.0)  # alpha / rank
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return added


def test_loras_work_and_leave_the_loaded_stage_alone(run, core, sample, sample_ours, make_stage, prompt, tmp_path):
    import comfy.sd
    import comfy.utils

    stage = make_stage(prediction_type="v")
    settings = {"width": 16, "height": 16, "steps": STEPS, "seed": 5, "unet": stage, "text": prompt}
    run("ImagenBaseSample64", **settings)  # now ComfyUI has notes on the loaded stage's layers
    plain = sample_ours(stage)
    model, *conds = run("ImagenToModel", unet=stage, text=prompt)
    added = lora_of(stage, tmp_path / "lora.safetensors")
    lora = comfy.utils.load_torch_file(str(tmp_path / "lora.safetensors"))
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.8, 0.0)
    assert len(patched.patches) == 2
    drawn = sample(patched, *conds)
    assert torch.equal(sample_ours(stage), plain), "the LoRA reached the stage that our own nodes use"
    assert torch.equal(sample(model, *conds), sample(*run("ImagenToModel", unet=stage, text=prompt)))
    weights = stage.unet.state_dict()
    for key, value in added.items():
        weights[key].add_(0.8 * value)
    assert_same(drawn, sample_ours(stage))
    assert not torch.allclose(plain, sample_ours(stage), atol=1e-2)


def test_weights_are_shared_not_copied(run, make_stage, prompt):
    stage = make_stage()
    model = run("ImagenToModel", unet=stage, text=prompt)[0]
    ours = {value.data_ptr() for value in stage.unet.parameters()}
    assert {value.data_ptr() for value in model.model.diffusion_model.parameters()} <= ours


def test_previews_are_the_picture(run, make_stage, prompt, monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Auto)
    model = run("ImagenToModel", unet=make_stage(), text=prompt)[0]
    previewer = latent_preview.get_previewer("cpu", model.get_model_object("latent_format"))
    pixels = torch.tensor([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert previewer.decode_latent_to_preview(pixels).getpixel((1, 1)) == (255, 0, 127)


def test_a_mask_keeps_what_it_does_not_cover(run, sample, make_stage, prompt):
    image = torch.rand(1, 16, 16, 3)
    mask = torch.zeros(1, 16, 16)
    mask[:, :, 8:] = 1.0
    latent = run("SetLatentNoiseMask", samples=run("ImagenImageToPixels", image=image)[0], mask=mask)[0]
    drawn = sample(*run("ImagenToModel", unet=make_stage(), text=prompt), latent=latent)
    picture = run("ImagenPixelsToImage", pixels={"samples": drawn})[0]
    torch.testing.assert_close(picture[:, :, :8], image[:, :, :8], rtol=0, atol=1e-5)
    assert (picture[:, :, 8:] - image[:, :, 8:]).abs().mean() > 0.05


def test_little_denoise_starts_from_the_picture(run, sample, make_stage, prompt):
    """A network that always answers 0 leaves of the picture what the noise did not replace: none of its noise."""
    stage = make_stage(prediction_type="eps")
    for parameter in stage.unet.parameters():
        parameter.zero_()
    image = torch.rand(1, 16, 16, 3)
    latent = run("ImagenImageToPixels", image=image)[0]
    model = run("ImagenToModel", unet=stage, text=prompt)
    near, far = (sample(*model, latent=latent, sampler_name="euler", denoise=part) for part in (0.1, 0.9))
    assert (near - latent["samples"]).abs().mean() < 0.2 < (far - latent["samples"]).abs().mean()


def test_the_hosts_empty_latent_and_pixel_vae_fit_too(run, sample, make_stage, prompt):
    import nodes

    model = run("ImagenToModel", unet=make_stage(), text=prompt)
    ours = sample(*model)
    empty = run("EmptyLatentImage", width=128, height=128)[0]  # newer ComfyUIs note in it what it was divided by
    if "downscale_ratio_spacial" in empty:
        empty = run("EmptyLatentImage", width=16, height=16)[0]
    theirs = sample(*model, latent=empty)
    assert torch.equal(theirs, ours)
    radiance = EmptyChromaRadianceLatentImage.execute(width=16, height=16, batch_size=1).result[0]
    assert torch.equal(sample(*model, latent=radiance), ours)
    vae = nodes.VAELoader().load_vae("pixel_space")[0]
    decoded = nodes.VAEDecode().decode(vae, {"samples": ours})[0]
    torch.testing.assert_close(decoded, run("ImagenPixelsToImage", pixels={"samples": ours})[0])


def test_pixels_and_images_are_each_other(run):
    image = torch.rand(2, 5, 7, 4)
    there = run("ImagenImageToPixels", image=image)[0]
    assert there["samples"].shape == (2, 3, 5, 7)
    torch.testing.assert_close(run("ImagenPixelsToImage", pixels=there)[0], image[..., :3])
    with pytest.raises(ValueError, match="VAE Decode"):
        run("ImagenPixelsToImage", pixels={"samples": torch.zeros(1, 4, 8, 8)})


def test_area_and_joined_prompts_run(run, sample, make_stage, prompt):
    model, positive, negative = run("ImagenToModel", unet=make_stage(), text=prompt)
    joined = run("ConditioningConcat", conditioning_to=positive, conditioning_from=positive)[0]
    area = run("ConditioningSetArea", conditioning=positive, width=64, height=64, x=0, y=0, strength=1.0)[0]
    both = run("ConditioningCombine", conditioning_1=area, conditioning_2=negative)[0]
    plain = sample(model, positive, negative)
    for other in (joined, both):
        drawn = sample(model, other, negative)
        assert torch.isfinite(drawn).all() and not torch.equal(drawn, plain)


def test_easy_cache_skips_calls_of_the_network(run, sample, make_stage, prompt):
    from comfy_extras.nodes_easycache import EasyCacheNode

    model, *conds = run("ImagenToModel", unet=make_stage(), text=prompt)
    cached = EasyCacheNode.execute(model, 0.9, 0.1, 0.9, False).result[0]
    calls = []
    model.model.diffusion_model.register_forward_hook(lambda *_: calls.append(1))
    assert torch.isfinite(sample(cached, *conds, steps=20)).all()
    assert 0 < len(calls) < 20


def test_what_does_not_fit_is_refused_with_a_reason(run, core, sample, make_stage, prompt, host_conditioning):
    base = make_stage()
    with pytest.raises(ValueError, match="takes no low_res"):
        run("ImagenToModel", unet=base, text=prompt, low_res=torch.rand(1, 4, 4, 3))
    with pytest.raises(ValueError, match="connect an Imagen Text Encode"):
        run("ImagenToModel", unet=base)
    model, *conds = run("ImagenToModel", unet=base, text=prompt)
    foreign = [[torch.zeros(1, 77, 768), {}]]
    with pytest.raises(ValueError, match="768 wide"):
        sample(model, foreign, foreign)
    sr = make_stage("sr256")
    with pytest.raises(ValueError, match="connect low_res"):
        run("ImagenToModel", unet=sr)
    model = run("ImagenToModel", unet=sr, low_res=torch.rand(1, 4, 4, 3))[0]
    with pytest.raises(ValueError, match="holds none"):
        sample(model, *conds)
