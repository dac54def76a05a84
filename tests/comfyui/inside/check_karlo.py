"""Does DALL-E 2 (Karlo) live inside ComfyUI: the prior under its memory manager, the decoder as a MODEL of its own?"""

import importlib

import pytest
import torch
from comfy import model_management

TOKENS, WIDTH, EMBED = 77, 24, 16


@pytest.fixture
def part(core):
    return lambda name: importlib.import_module(f"{core.__name__}.{name}")


def rows(*shape, seed):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def prompt(core):
    def read(real, seed):
        mask = torch.arange(TOKENS)[None] < real
        return core.TextEmbeds(embeds=rows(TOKENS, WIDTH, seed=seed), mask=mask, pooled=rows(EMBED, seed=seed + 1))

    return core.Prompt(text=read(9, 1), negative=read(2, 5))


@pytest.fixture
def prior(core, part):
    torch.manual_seed(0)
    network, reader = part("priors.network"), part("checkpoints.readers.karlo_prior")
    config = network.PriorConfig(embed_dim=EMBED, text_embed_dim=WIDTH, width=64, depth=2, heads=2)
    made = network.PriorNetwork(config).eval().requires_grad_(False)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    space = part("spaces").SPACES["embeddings"]()
    spec = reader.PriorSpec(config=config, schedule_config={"name": "discrete"}, space=space)
    return core.Prior(network=made, schedule=core.SCHEDULES["discrete"](), spec=spec)


@pytest.fixture
def decoder(core, part, pack, tmp_path):
    torch.manual_seed(0)
    module = part("unets.karlo_decoder")
    config = module.KarloDecoderConfig(**module.KarloDecoderConfig.tiny, text_embed_dim=WIDTH, image_embed_dim=EMBED)
    unet = core.build_unet(config)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    spec = core.StageSpec(
        stage="base64",
        unet_config=config,
        schedule_config={"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000},
        prediction_type="eps",
        learned_variance=True,
        text=part("text.reading").AS_CLIP,
    )
    core.save_checkpoint(tmp_path / "decoder.safetensors", unet, spec=spec)
    host = importlib.import_module(f"{pack.__name__}.nodes._host")
    return host.managed(core.load_stage(tmp_path / "decoder.safetensors"))


def test_the_prior_draws_the_same_under_the_memory_manager(core, pack, run, prior, prompt):
    settings = {"text": prompt, "seed": 7, "steps": 3, "candidates": 2}
    draw = core.Draw(seeds=[7], steps=3, sampler=core.SAMPLERS["ddpm"](), guidance=core.make_guidance(scale=4.0))
    expected = core.sample_prior(prior, prompt, draw, candidates=2)
    model_management.unload_all_models()
    managed = importlib.import_module(f"{pack.__name__}.nodes._host").managed(prior)
    assert model_management.loaded_models() == []
    (found,) = run("ImagenPriorSample", prior=managed, **settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert model_management.loaded_models() == [managed.patcher]


def test_ksampler_draws_with_the_decoder_what_ours_draws(core, run, decoder, prompt):
    told = run("ImagenUnCLIPConditioning", text=prompt, image_embed=rows(EMBED, seed=9))[0]
    model, positive, negative = run("ImagenToModel", unet=decoder, text=told)
    times = core.SAMPLERS["dpmpp_2m"]().times(decoder.schedule, 6, "logsnr")
    sigmas = torch.cat([core.t_to_sigma_ve(decoder.schedule, times), torch.zeros(1)]).float()
    sampler = run("KSamplerSelect", sampler_name="dpmpp_2m")[0]
    latent = run("ImagenEmptyPixels", width=16, height=16)[0]
    inputs = {"positive": positive, "negative": negative, "sampler": sampler, "sigmas": sigmas, "cfg": 1.5}
    theirs = run("SamplerCustom", model=model, latent_image=latent, add_noise=True, noise_seed=5, **inputs)[0][
        "samples"
    ]
    none, guidance = core.make_thresholding("none"), core.make_guidance(scale=1.5)
    draw = core.Draw(seeds=[5], steps=6, spacing="logsnr", guidance=guidance, thresholding=none)
    ours = core.sample_base(decoder, told, draw, height=16, width=16)
    assert ours.std() > 0.05
    torch.testing.assert_close(theirs.clamp(-1, 1), ours, rtol=0, atol=2e-3)
    with pytest.raises(ValueError, match="got none: put Imagen unCLIP Conditioning"):
        run("ImagenToModel", unet=decoder, text=prompt)
