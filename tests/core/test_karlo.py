"""Is Karlo (DALL-E 2: prior, decoder, upsampler) what diffusers computes, network by network and over whole runs?"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import original_weights

from imagen_core import (
    Draw,
    Prompt,
    TextEmbeds,
    find_stages,
    inspect_checkpoint,
    load_stage,
    make_guidance,
    sample_base,
    super_resolve,
)
from imagen_core.checkpoints.karlo_keys import decoder_map, upsampler_map
from imagen_core.checkpoints.readers.karlo_prior import prior_map
from imagen_core.denoiser import Denoiser
from imagen_core.priors.network import PriorConfig, PriorNetwork
from imagen_core.priors.prior import find_priors, load_prior, sample_prior
from imagen_core.samplers._base import levels
from imagen_core.samplers.ddpm import DDPM
from imagen_core.sampling import default_thresholding
from imagen_core.unets.karlo_decoder import KarloDecoder, KarloDecoderConfig
from imagen_core.unets.karlo_upsampler import KarloUpsampler, KarloUpsamplerConfig

diffusers = pytest.importorskip("diffusers")
unclip = pytest.importorskip("diffusers.pipelines.deprecated.unclip")

WIDTH, TOKENS, INSIDE = 24, 77, 48  # of CLIP, in a prompt, of the decoder's text
DECODER = {
    "sample_size": 64,
    "layers_per_block": 1,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "block_out_channels": (32, 128),
    "in_channels": 3,
    "out_channels": 6,
    "cross_attention_dim": INSIDE,
    "class_embed_type": "identity",
    "attention_head_dim": 64,
    "resnet_time_scale_shift": "scale_shift",
}
UPSAMPLER = {
    "sample_size": 256,
    "layers_per_block": 1,
    "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
    "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
    "block_out_channels": (32, 64),
    "in_channels": 6,
    "out_channels": 3,
    "add_attention": False,
}
PRIOR = {"num_attention_heads": 2, "attention_head_dim": 64, "num_layers": 2, "embedding_dim": WIDTH}
SCHEDULERS = {
    "prior": {"prediction_type": "sample", "variance_type": "fixed_small_log", "clip_sample_range": 5.0},
    "decoder": {"prediction_type": "epsilon", "variance_type": "learned_range"},
    "super_res": {"prediction_type": "epsilon", "variance_type": "fixed_small_log"},
}


def randomised(network, seed):
    """In which whatever starts at one number is random too."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.std() == 0 or parameter.ndim == 1:
            nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def theirs():
    """diffusers' networks and schedulers, by the pipeline's names."""
    from diffusers import PriorTransformer, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel

    text_proj = unclip.UnCLIPTextProjModel(clip_embeddings_dim=WIDTH, time_embed_dim=4 * 32, cross_attention_dim=INSIDE)
    networks = {
        "prior": PriorTransformer(**PRIOR),
        "text_proj": text_proj,
        "decoder": UNet2DConditionModel(**DECODER),
        "super_res_first": UNet2DModel(**UPSAMPLER),
        "super_res_last": UNet2DModel(**UPSAMPLER),
    }
    parts = {name: randomised(network, seed) for seed, (name, network) in enumerate(networks.items())}
    schedulers = {f"{name}_scheduler": UnCLIPScheduler(**settings) for name, settings in SCHEDULERS.items()}
    for each in schedulers.values():  # in float32 its last step multiplies a picture by .9995
        each.betas = each.betas.double()
        each.alphas = 1.0 - each.betas
        each.alphas_cumprod = each.alphas.cumprod(0)
    return parts | schedulers


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    """The pipeline's folder, as published."""
    folder = tmp_path_factory.mktemp("models") / "karlo-v1-alpha"
    for name, part in theirs.items():
        part.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    names = {"decoder": "decoder", "super_res": "super_res_first"}
    return {name: load_stage(folder / part) for name, part in names.items()} | {"prior": load_prior(folder / "prior")}


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def text(real, seed):
    """A prompt of so many tokens, encoded by no encoder."""
    mask = torch.arange(TOKENS)[None] < real
    return TextEmbeds(embeds=random(1, TOKENS, WIDTH, seed=seed), mask=mask, pooled=random(1, WIDTH, seed=seed + 1))


PROMPT = Prompt(text=text(9, 10), negative=text(2, 20))
BRANCHES = {"null": PROMPT.negative, "cond": PROMPT.text}
IMAGE = random(1, WIDTH, seed=30)


def close(found, expected, tolerance=5e-5):
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < tolerance


def their_prior(theirs, z_t, timestep, read):
    return theirs["prior"](z_t, timestep, read.pooled, read.embeds, read.mask).predicted_image_embedding


def their_decoder(theirs, x_t, timestep, image, branch):
    """What diffusers' pipeline tells its decoder, in which the null branch has an embedding of its own."""
    read = BRANCHES[branch]
    image = image if branch == "cond" else theirs["text_proj"].learned_classifier_free_guidance_embeddings[None]
    hidden, vector = theirs["text_proj"](
        image_embeddings=image,
        prompt_embeds=read.pooled,
        text_encoder_hidden_states=read.embeds,
        do_classifier_free_guidance=False,
    )
    mask = nn.functional.pad(read.mask, (4, 0), value=True)
    return theirs["decoder"](x_t, timestep, hidden, class_labels=vector, attention_mask=mask).sample


@pytest.mark.parametrize("timestep", [0, 417])
@torch.inference_mode()
def test_each_network(theirs, ours, timestep):
    time, z_t, x_t = torch.tensor([float(timestep)]), random(1, WIDTH, seed=1), random(1, 3, 16, 16, seed=2)
    prior, decoder = ours["prior"], ours["decoder"]
    told = decoder.encode_prompt(replace(PROMPT, image_embed=IMAGE), 1)
    for branch, read in BRANCHES.items():
        found = prior.network(z_t, time, prior.network.encode_text(read))
        close(found, their_prior(theirs, z_t, timestep, read))
        found = decoder.unet(x_t, time, told[branch])
        close(found, their_decoder(theirs, x_t, timestep, IMAGE, branch))
    low_res, unet = random(1, 3, 16, 16, seed=3), ours["super_res"].unet
    network = theirs["super_res_last" if timestep == 0 else "super_res_first"]
    told = ours["super_res"].encode_prompt(None, 1)["cond"]
    found = unet(x_t, time, replace(told, pixels=low_res))
    close(found, network(torch.cat([x_t, low_res], dim=1), timestep).sample)
    both = unet(
        x_t.expand(2, -1, -1, -1), torch.tensor([0.0, 999.0]), replace(told, pixels=low_res.expand(2, -1, -1, -1))
    )
    close(
        both[1 if timestep else 0],
        unet(x_t, torch.tensor([999.0 if timestep else 0.0]), replace(told, pixels=low_res))[0],
    )


def their_run(theirs, name, shape, steps, predict, *, guidance, seed, passed=0):
    """diffusers' loop with one generator, `passed` draws after the first left out, as ours draw one more."""
    scheduler, generator = theirs[f"{name}_scheduler"], torch.Generator().manual_seed(seed)
    scheduler.set_timesteps(steps)
    x_t = torch.randn(shape, generator=generator)
    for _ in range(passed):
        torch.randn(shape, generator=generator)
    following = [*scheduler.timesteps[1:].tolist(), None]
    for t, s in zip(scheduler.timesteps.tolist(), following, strict=True):
        answer = predict(x_t, t, "cond")
        if guidance != 1.0:
            channels = x_t.shape[1]
            null, mean = predict(x_t, t, "null")[:, :channels], answer[:, :channels]
            answer = torch.cat([null + guidance * (mean - null), answer[:, channels:]], dim=1)
        x_t = scheduler.step(answer, t, x_t, prev_timestep=s, generator=generator).prev_sample
    return x_t


@pytest.mark.parametrize(("steps", "scale"), [(5, 1.0), (9, 4.0)])
@torch.inference_mode()
def test_a_whole_run_of_the_prior(theirs, ours, steps, scale):
    draw = Draw(seeds=[7], steps=steps, sampler=DDPM(), guidance=make_guidance(scale=scale))
    found = sample_prior(ours["prior"], PROMPT, draw)
    run = their_run(
        theirs, "prior", (1, WIDTH), steps, lambda z_t, t, branch: their_prior(theirs, z_t, t, BRANCHES[branch]),
        guidance=scale, seed=7,
    )  # fmt: skip
    close(found, theirs["prior"].post_process_latents(run), 3e-4)


@pytest.mark.parametrize(("t", "s"), [(600, 300), (300, 100), (100, 0)])
@torch.inference_mode()
def test_a_step_of_the_decoder_under_full_guidance(theirs, ours, t, s):
    stage, x_t = ours["decoder"], random(1, 3, 16, 16, seed=2)
    told = stage.encode_prompt(replace(PROMPT, image_embed=IMAGE), 1)
    denoise = Denoiser(
        stage.predictor, told, guidance=make_guidance(scale=8.0), thresholding=default_thresholding(stage)
    )
    grid = levels(stage.schedule, torch.tensor([t, s], dtype=torch.float64) / 999)
    found = DDPM().advance(denoise, x_t, grid, lambda: random(1, 3, 16, 16, seed=9))
    null, cond = (their_decoder(theirs, x_t, t, IMAGE, branch) for branch in ("null", "cond"))
    answer = torch.cat([null[:, :3] + 8.0 * (cond[:, :3] - null[:, :3]), cond[:, 3:]], dim=1)
    noise = torch.Generator().manual_seed(9)
    close(found, theirs["decoder_scheduler"].step(answer, t, x_t, prev_timestep=s, generator=noise).prev_sample, 3e-4)


@torch.inference_mode()
def test_a_whole_run_of_the_decoder(theirs, ours):
    """With random weights and guidance 8 rounding flips whole pixels by the last step: here it is 1.5."""
    draw = Draw(seeds=[3], steps=6, sampler=DDPM(), guidance=make_guidance(scale=1.5))
    found = sample_base(ours["decoder"], replace(PROMPT, image_embed=IMAGE), draw, height=16, width=16)
    predict = lambda x_t, t, branch: their_decoder(theirs, x_t, t, IMAGE, branch)
    close(found, their_run(theirs, "decoder", (1, 3, 16, 16), 6, predict, guidance=1.5, seed=3), 5e-3)


@torch.inference_mode()
def test_a_whole_run_of_the_upsampler_ends_with_the_other_network(theirs, ours):
    small = random(1, 3, 8, 8, seed=5).clamp(-1, 1)
    enlarged = nn.functional.interpolate(small, (32, 32), mode="bicubic", align_corners=False, antialias=True)

    def predict(x_t, t, _):
        network = theirs["super_res_last" if t == 0 else "super_res_first"]
        return network(torch.cat([x_t, enlarged], dim=1), t).sample

    found = super_resolve(ours["super_res"], small, None, Draw(seeds=[4], steps=7, sampler=DDPM()))
    close(found, their_run(theirs, "super_res", (1, 3, 32, 32), 7, predict, guidance=1.0, seed=4, passed=1), 5e-3)


@pytest.mark.parametrize("steps", [7, 25, 50])
def test_timesteps_are_karlos(theirs, ours, steps):
    from imagen_core.samplers.spacing import time_grid

    scheduler = theirs["decoder_scheduler"]
    scheduler.set_timesteps(steps)
    times = time_grid(ours["decoder"].schedule, steps, "linspace")
    assert (times * 999).round().int().tolist() == scheduler.timesteps.tolist()


def test_the_folders_say_how_they_are_sampled(folder, ours):
    assert list(find_stages(folder.parent)) == [folder / "decoder", folder / "super_res_first"]
    assert list(find_priors(folder.parent)) == [folder / "prior"]
    decoder, upsampler = ours["decoder"].spec, ours["super_res"].spec
    assert (decoder.stage, decoder.learned_variance, decoder.text.tokens) == ("base64", True, 77)
    assert decoder.inputs == ("text", "image_embed") and upsampler.inputs == ("low_res",)
    assert (upsampler.stage, upsampler.low_res_resize) == ("sr256", "bicubic")
    assert (decoder.defaults["steps"], upsampler.defaults["steps"]) == (25, 7)
    assert ours["prior"].spec.space.limit == 5.0  # of this folder's scheduler; 10 where there is none
    assert inspect_checkpoint(folder / "prior")["settings"]["config"].heads == 2
    assert inspect_checkpoint(folder / "decoder")["kind"] == "Karlo decoder"


def test_the_better_of_two_candidates_is_kept(ours):
    draw = Draw(seeds=[7, 8], steps=3, sampler=DDPM())
    kept = sample_prior(ours["prior"], PROMPT, draw, candidates=3)
    others = [
        sample_prior(ours["prior"], PROMPT, replace(draw, seeds=[s + 2**53 * i for s in draw.seeds])) for i in range(3)
    ]
    fit = torch.stack([(each * PROMPT.text.pooled).sum(-1) for each in others])
    assert torch.allclose((kept * PROMPT.text.pooled).sum(-1), fit.amax(0), atol=1e-4)
    assert torch.allclose(others[0], sample_prior(ours["prior"], PROMPT, draw), atol=1e-5)


def head_by_head(tensors, heads):
    """Rows of several tensors, a head of each in turn."""
    return torch.cat(
        [part for parts in zip(*(tensor.chunk(heads) for tensor in tensors), strict=True) for part in parts]
    )


PRIOR_NAMES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "proj_in": "clip_img_proj",
    "embedding_proj": "text_emb_proj",
    "encoder_hidden_states_proj": "text_enc_proj",
    "positional_embedding": "positional_embedding",
    "prd_embedding": "prd_emb",
    "norm_out": "final_ln",
    "proj_to_clip_embeddings": "out_proj",
    "norm1": "ln_1",
    "norm3": "ln_2",
    "ff.net.0.proj": "mlp.c_fc",
    "ff.net.2": "mlp.c_proj",
    "attn1.to_out.0": "attn.c_proj",
}
TEXT_NAMES = {
    "encoder_hidden_states_proj": "text_seq_proj.0",
    "text_encoder_hidden_states_norm": "text_seq_proj.1",
    "clip_extra_context_tokens_proj": "clip_tok_proj",
    "embedding_proj": "text_feat_proj",
    "learned_classifier_free_guidance_embeddings": "cf_param",
    "clip_image_embeddings_project_to_time_embeddings": "clip_emb",
}


def called(key, names):
    """A key of diffusers' under the authors' names."""
    name = next(name for name in sorted(names, key=len, reverse=True) if key == name or key.startswith(f"{name}."))
    return names[name] + key.removeprefix(name)


def the_authors_prior(weights, heads):
    """The prior's weights as Karlo's own file has them, without the statistics."""
    found = {}
    for key, tensor in weights.items():
        if key.startswith("clip_"):
            continue
        before, number, inside = key.split(".", 2) if key.startswith("transformer_blocks") else ("", "", key)
        prefix = f"model.transformer.resblocks.{number}." if before else "model."
        if ".to_q." in inside:
            parts = [weights[key.replace(".to_q.", f".to_{part}.")] for part in "qkv"]
            found[f"{prefix}attn.c_qkv.{key.rpartition('.')[2]}"] = head_by_head(parts, heads)
        elif ".to_k." not in inside and ".to_v." not in inside:
            found[prefix + called(inside, PRIOR_NAMES)] = tensor
    return found


def test_the_authors_own_files(theirs, ours, tmp_path):
    """Converted, and read without any settings: each weight becomes what the folder's is."""
    from imagen_core import convert_weights

    decoder = original_weights(theirs["decoder"]) | {
        called(key, TEXT_NAMES): tensor for key, tensor in theirs["text_proj"].state_dict().items()
    }
    upsampler = {
        f"{prefix}.{key}": tensor
        for prefix, name in (("model_first_steps", "super_res_first"), ("model_last_step", "super_res_last"))
        for key, tensor in upsampler_weights(theirs[name]).items()
    }
    prior = theirs["prior"].state_dict()
    files = {
        "decoder": {f"model.{key}": tensor for key, tensor in decoder.items()},
        "super_res": upsampler,
        "prior": the_authors_prior(prior, 2),
    }
    torch.save((prior["clip_mean"][0], prior["clip_std"][0]), tmp_path / "stats.th")
    for name, weights in files.items():
        torch.save({"state_dict": weights, "epoch": 3}, tmp_path / f"{name}.ckpt")
        path = convert_weights(tmp_path / f"{name}.ckpt", stats=tmp_path / "stats.th" if name == "prior" else None)
        read = load_prior(path).network if name == "prior" else load_stage(path).unet
        expected = ours[name].network if name == "prior" else ours[name].unet
        assert read.state_dict().keys() == expected.state_dict().keys()
        for key, tensor in expected.state_dict().items():
            assert read.state_dict()[key].equal(tensor), (name, key)
    with pytest.raises(ValueError, match="pair of a mean and a deviation"):
        convert_weights(tmp_path / "prior.ckpt", tmp_path / "x.safetensors", stats=tmp_path / "decoder.ckpt")


def upsampler_weights(network):
    """As `original_weights` has them, of a network whose middle does not attend."""
    return {
        key.replace("middle_block.2.", "middle_block.1."): tensor for key, tensor in original_weights(network).items()
    }


# Published sizes: parameters and tensors of diffusers' classes with Karlo's settings (unclip.md).
def test_published_sizes():
    with torch.device("meta"):
        decoder, upsampler = KarloDecoder(KarloDecoderConfig()), KarloUpsampler(KarloUpsamplerConfig())
        prior = PriorNetwork(PriorConfig())
    counts = {
        "decoder": (decoder, decoder_map, 885_439_686 + 7_878_400, 716 + 11),
        "upsampler": (upsampler, upsampler_map, 2 * 691_579_523, 2 * 408),
        "prior": (prior, prior_map, 1_022_030_080, 338),
    }
    for network, key_map, parameters, tensors in counts.values():
        assert sum(tensor.numel() for tensor in network.state_dict().values()) == parameters
        parts = [part for entry in key_map(network, "diffusers").values() for part in entry.parts]
        assert len(parts) == len(set(parts)) == tensors


@pytest.mark.parametrize("kind", ["decoder", "super_res_first"])
def test_half_of_a_pair_says_what_is_missing(folder, kind, tmp_path):
    other = {"decoder": "text_proj", "super_res_first": "super_res_last"}[kind]
    (tmp_path / kind).symlink_to(folder / kind)
    with pytest.raises(ValueError, match=f"lies alone: put the folder {other}") as caught:
        load_stage(tmp_path / kind)
    assert "\n" not in str(caught.value)


def test_a_prior_without_statistics_and_schedulers_of_other_models_are_named(theirs, folder, tmp_path):
    save_file(the_authors_prior(theirs["prior"].state_dict(), 2), tmp_path / "prior.safetensors")
    with pytest.raises(ValueError, match="lacks clip_mean and clip_std.*--stats ViT-L-14_stats.th"):
        load_prior(tmp_path / "prior.safetensors")
    for part, scheduler, change, message in (
        ("prior", "prior_scheduler", {"prediction_type": "epsilon"}, "another prediction_type"),
        ("prior", "prior_scheduler", {"clip_sample_range": "much"}, "clip_sample_range is 'much'"),
        ("decoder", "decoder_scheduler", {"variance_type": "fixed_small_log"}, "variance is not the network's own"),
    ):
        place = tmp_path / f"{part}_{len(message)}"
        place.mkdir()
        for name in (part, "text_proj"):
            (place / name).symlink_to(folder / name)
        settings = json.loads((folder / scheduler / "scheduler_config.json").read_text()) | change
        (place / scheduler).mkdir()
        (place / scheduler / "scheduler_config.json").write_text(json.dumps(settings))
        with pytest.raises(ValueError, match=message):
            (load_prior if part == "prior" else load_stage)(place / part)


def test_what_is_not_told_is_named(ours):
    draw, decoder, prior = Draw(seeds=[1], steps=1, sampler=DDPM()), ours["decoder"], ours["prior"]
    with pytest.raises(ValueError, match="got none: put Imagen unCLIP Conditioning between"):
        sample_base(decoder, PROMPT, draw)
    with pytest.raises(ValueError, match="is 5 wide, and this decoder reads 24"):
        sample_base(decoder, replace(PROMPT, image_embed=torch.zeros(1, 5)), draw)
    with pytest.raises(ValueError, match="2 image embeddings for 1 images"):
        sample_base(decoder, replace(PROMPT, image_embed=torch.zeros(2, WIDTH)), draw)
    bare = Prompt(text=replace(PROMPT.text, pooled=None), negative=PROMPT.negative, image_embed=IMAGE)
    with pytest.raises(ValueError, match="which is not there: use CLIP ViT-L/14"):
        sample_base(decoder, bare, draw)
    with pytest.raises(ValueError, match="besides its tokens"):
        sample_prior(prior, bare, draw)
    with pytest.raises(ValueError, match="empty text: set padding"):
        sample_prior(prior, Prompt(text=PROMPT.text), draw)
    with pytest.raises(ValueError, match="77 tokens 24 wide with a vector 3 wide, and this prior reads 77, 24 and 24"):
        sample_prior(prior, replace(PROMPT, text=replace(PROMPT.text, pooled=torch.zeros(1, 3))), draw)
    with pytest.raises(ValueError, match="no prompt"):
        ours["super_res"].unet.encode_text(PROMPT.text)
