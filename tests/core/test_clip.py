"""CLIP's towers beside transformers', under every scheme of names; scores, rankings, and guidance by them.

Layouts are tested with random weights; published ones cannot be fetched here.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from clip_files import MARKS, openai_names, save_clip
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from imagen_core import clip_ranking, find_clips, find_text_encoders, inspect_checkpoint, load_clip, load_text_encoder
from imagen_core.clip.config import ClipConfig, TextConfig, VisionConfig
from imagen_core.clip.loading import load_clip_network
from imagen_core.clip.model import prepared
from imagen_core.clip.network import ClipNetwork
from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.clip import SEES, ClipGuidance
from imagen_core.predictor import Predictor
from imagen_core.samplers.ddim import DDIM
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.thresholding.static import StaticThresholding

transformers = pytest.importorskip("transformers")
BOUND = {"rtol": 0, "atol": 5e-5}
TEXTS = ["a red fox", "Red!", "", "foxes don't  run, 42"]


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def folder(request, tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp(request.param) / "clip", transformers, request.param)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip", transformers)


def pictures(count=3, height=40, width=32):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def oracle(folder):
    return transformers.CLIPModel.from_pretrained(folder).eval()


def token_ids(folder, texts):
    """transformers' own tokenizer, padded with end marks."""
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, pad_token=MARKS[1])
    return tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt").input_ids


@torch.no_grad()
def test_both_towers_are_those_of_transformers(folder):
    model, clip = oracle(folder), load_clip(folder)
    ids, pixels = token_ids(folder, TEXTS), prepared(pictures(), 32)
    text, seen = clip.network.text_model(ids), clip.network.vision_model(pixels)
    theirs = model.text_model(ids, output_hidden_states=True)
    torch.testing.assert_close(text.hidden, theirs.last_hidden_state, **BOUND)
    torch.testing.assert_close(text.penultimate, theirs.hidden_states[-2], **BOUND)
    theirs = model.vision_model(pixels, output_hidden_states=True)
    torch.testing.assert_close(seen.hidden, theirs.last_hidden_state, **BOUND)
    torch.testing.assert_close(seen.penultimate, theirs.hidden_states[-2], **BOUND)
    both = model(input_ids=ids, pixel_values=pixels)
    torch.testing.assert_close(clip.embed_texts(TEXTS), both.text_embeds, **BOUND)
    torch.testing.assert_close(clip.embed_pixels(pictures()), both.image_embeds, **BOUND)
    logits = clip.logit_scale * clip.embed_pixels(pictures()) @ clip.embed_texts(TEXTS).mT
    torch.testing.assert_close(logits, both.logits_per_image, rtol=0, atol=1e-3)


@torch.no_grad()
def test_the_activations_are_not_each_other(quick):
    right, wrong = (load_clip(quick, activation=each).embed_pixels(pictures()) for each in ("auto", "gelu"))
    assert (right - wrong).abs().max() > 20 * BOUND["atol"]


def schemes(folder):
    """File name: what is in it, and which activation `auto` takes it for."""
    weights, openai = load_file(folder / "model.safetensors"), openai_names(folder)
    marks = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(24)}
    unet = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 4, 3, 3)}
    fp16 = {name: weight.half() for name, weight in weights.items()}
    own_text = {f"text.{name}" if not name.startswith(("visual.", "logit")) else name: w for name, w in openai.items()}
    return {
        "hub": (weights, "quick_gelu"),
        "prefixed": ({f"cond_stage_model.transformer.{name}": w for name, w in weights.items()} | unet, "quick_gelu"),
        "fp16": (fp16, "quick_gelu"),
        "openai": (openai | marks, "quick_gelu"),
        "openclip": (openai, "gelu"),
        "sd2": ({f"cond_stage_model.model.{name}": w for name, w in openai.items()} | unet, "gelu"),
        "custom_text": (own_text, "gelu"),
    }


@torch.no_grad()
@pytest.mark.parametrize("name", ["hub", "prefixed", "fp16", "openai", "openclip", "sd2", "custom_text"])
def test_a_single_file_under_any_names_is_the_same_clip(quick, tmp_path, name):
    weights, activation = schemes(quick)[name]
    file = tmp_path / f"{name}.safetensors"
    save_file(weights, file)
    for piece in ("vocab.json", "merges.txt"):
        shutil.copy(quick / piece, tmp_path)
    wanted, got = load_clip(quick, activation=activation), load_clip(file)
    bound = {"rtol": 0, "atol": 5e-3} if name == "fp16" else BOUND
    torch.testing.assert_close(got.embed_texts(TEXTS), wanted.embed_texts(TEXTS), **bound)
    torch.testing.assert_close(got.embed_pixels(pictures()), wanted.embed_pixels(pictures()), **bound)
    assert list(find_clips(tmp_path)) == [file] and list(find_text_encoders(tmp_path)) == [file]
    about = inspect_checkpoint(file)
    assert about["kind"] == "CLIP text and vision encoder" and about["settings"]["vision"]["activation"] == activation


def test_towers_alone_as_transformers_saves_them(quick, tmp_path):
    config = transformers.CLIPConfig.from_pretrained(quick)
    kinds = {
        "CLIPTextModel": (config.text_config, "text"),
        "CLIPTextModelWithProjection": (config.text_config, "text"),
        "CLIPVisionModel": (config.vision_config, "vision"),
        "CLIPVisionModelWithProjection": (config.vision_config, "vision"),
    }
    for name, (settings, tower) in kinds.items():
        getattr(transformers, name)(settings).save_pretrained(tmp_path / name)
        network = load_clip_network(tmp_path / name, dtype=torch.float32)
        assert {"text": network.text_model, "vision": network.vision_model}[tower] is not None
        assert inspect_checkpoint(tmp_path / name)["kind"] == f"CLIP {tower} encoder"
        projected = network.text_projection or network.visual_projection
        assert (projected is not None) == name.endswith("Projection")


def test_an_openclip_folder_says_its_activation(quick, tmp_path):
    save_file(openai_names(quick), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    assert load_clip_network(tmp_path, dtype=torch.float32).config.text.activation == "quick_gelu"
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 24}}))
    assert load_clip_network(tmp_path, dtype=torch.float32).config.vision.activation == "gelu"


@pytest.mark.parametrize(
    "text, vision, embed_dim, millions, tensors",
    [
        ({"width": 512, "heads": 8, "mlp": 2048}, {}, 512, 151.277, 398),  # ViT-B/32
        ({"width": 768, "heads": 12, "mlp": 3072}, {"width": 1024, "layers": 24, "heads": 16, "mlp": 4096, "patch": 14},
         768, 427.617, 590),  # ViT-L/14
        ({"width": 1024, "layers": 24, "heads": 16, "mlp": 4096},
         {"width": 1280, "layers": 32, "heads": 16, "mlp": 5120, "patch": 14}, 1024, 986.109, 910),  # OpenCLIP H/14
        ({"width": 1280, "layers": 32, "heads": 20, "mlp": 5120},
         {"width": 1664, "layers": 48, "heads": 16, "mlp": 8192, "patch": 14}, 1280, 2539.567, 1294),  # OpenCLIP bigG/14
    ],
    ids=["B32", "L14", "H14", "bigG14"],
)  # fmt: skip
def test_published_sizes_have_the_published_number_of_weights(text, vision, embed_dim, millions, tensors):
    config = ClipConfig(
        text=TextConfig(**text),
        vision=VisionConfig(**vision),
        text_embed_dim=embed_dim,
        vision_embed_dim=embed_dim,
        scaled=True,
    )
    with torch.device("meta"):
        weights = ClipNetwork(config).state_dict()
    assert len(weights) == tensors
    assert round(sum(weight.numel() for weight in weights.values()) / 1e6, 3) == millions


# ---- as a text encoder ----


@torch.no_grad()
def test_prompts_are_read_as_transformers_reads_them(folder):
    encoded, ids = load_text_encoder(folder).encode(TEXTS), token_ids(folder, TEXTS)
    hidden = oracle(folder).text_model(ids).last_hidden_state
    for i in range(len(TEXTS)):
        length = int(encoded.mask[i].sum())
        assert ids[i, length - 1] == ids.max() and (length == 24 or ids[i, length] == ids.max())
        torch.testing.assert_close(encoded.embeds[i, :length], hidden[i, :length], **BOUND)
    with pytest.warns(UserWarning, match="24 tokens"):
        assert load_text_encoder(folder).encode(["fox " * 50]).embeds.shape == (1, 24, 128)


@torch.no_grad()
def test_a_prompts_vector_is_its_place_in_the_common_space(folder):
    """Not normalised, as a prior and a decoder read it, whether padded or not."""
    encoder, ids = load_text_encoder(folder), token_ids(folder, TEXTS)
    model = oracle(folder)
    expected = model.text_projection(model.text_model(ids).pooler_output)
    for read in (encoder.encode(TEXTS), encoder.encode(TEXTS, pad_to=24)):
        torch.testing.assert_close(read.pooled, expected, **BOUND)


def test_a_file_with_a_text_tower_alone_is_a_text_encoder(quick, tmp_path):
    weights = load_file(quick / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if name.startswith("text_model.")}, tmp_path / "clip_l.safetensors"
    )
    with pytest.raises(FileNotFoundError, match="no tokenizer: put CLIP's tokenizer.json"):
        load_text_encoder(tmp_path / "clip_l.safetensors")
    encoder = load_text_encoder(tmp_path / "clip_l.safetensors", tokenizer_places=[quick])
    assert torch.equal(encoder.encode(TEXTS).embeds, load_text_encoder(quick).encode(TEXTS).embeds)
    assert encoder.encode(TEXTS).pooled is None  # it has no projection
    assert list(find_text_encoders(tmp_path)) == [tmp_path / "clip_l.safetensors"] and not list(find_clips(tmp_path))


# ---- pictures, scores ----


def test_pictures_are_prepared_as_transformers_prepares_them():
    """To an 8-bit level: theirs are rounded to whole levels before and after the resize."""
    levels = torch.randint(0, 256, (1, 3, 60, 90), generator=torch.Generator().manual_seed(0)).float()
    levels = F.interpolate(levels, scale_factor=2.0, mode="bilinear")  # as photos are: neighbours are alike
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    theirs = processor(levels[0].byte(), return_tensors="pt", do_rescale=True).pixel_values
    ours = prepared(levels.byte().float() / 127.5 - 1.0, 32)
    assert (ours - theirs).abs().max() < 1.5 / 255 / 0.26
    assert torch.equal(prepared(pictures(1, 32, 32), 32), prepared(pictures(1, 32, 32).clone(), 32))


def test_the_best_come_first(quick):
    clip, batch = load_clip(quick), pictures(5, 32, 32)
    found = clip_ranking(clip, batch, "a red fox")
    alone = torch.cat([clip_ranking(clip, picture[None], "a red fox").scores for picture in batch])
    torch.testing.assert_close(found.scores, alone, **BOUND)
    assert found.scores[found.order].tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.probabilities.tolist() == [1.0] * 5
    beside = clip_ranking(clip, batch, "a red fox", ["a fox", "Red!"])
    logits = clip.logit_scale * clip.embed_pixels(batch) @ clip.embed_texts(["a red fox", "a fox", "Red!"]).mT
    torch.testing.assert_close(beside.probabilities, logits.softmax(-1)[:, 0])
    likely = beside.probabilities[beside.order]
    assert (likely.diff() <= 0).all()
    with pytest.raises(ValueError, match="no text"):
        clip_ranking(clip, batch, " ")


# ---- guidance ----


def drawn(*guidance):
    """A run of a network that predicts x_0 = 0, under inference mode as hosts run nodes."""
    schedule = CosineSchedule()
    predictor = Predictor(
        network=lambda x_t, time, told: torch.zeros_like(x_t), schedule=schedule, prediction_type="x_0"
    )
    denoise = Denoiser(predictor, {"cond": Signals()}, guidance=guidance, thresholding=StaticThresholding())
    return DDIM().sample(denoise, pictures(2, 32, 32), DDIM().times(schedule, 6), noise=lambda: None), denoise


def test_guidance_is_its_closed_form_and_works_in_inference_mode(quick):
    t = torch.tensor(0.5, dtype=torch.float64)
    with torch.inference_mode():
        clip = load_clip(quick)
        guidance = ClipGuidance(scale=3.0, clip=clip, text=clip.embed_texts(["a red fox"]))
        x_t = pictures(2, 32, 32)
        plain, got = (drawn(*each)[1](x_t, t).x_0 for each in ((), (guidance,)))
    x_0 = torch.zeros(2, 3, 32, 32, requires_grad=True)
    log_p = clip.logit_scale * (clip.embed_pixels(x_0) @ guidance.text.clone().mT).sum()
    _, sigma = CosineSchedule().alpha_sigma(t)
    expected = plain + 3.0 * sigma.float() ** 2 * torch.autograd.grad(log_p, x_0)[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    assert (got - plain).abs().max() > 1e-3


def test_one_that_knows_noise_is_shown_x_t(quick, tmp_path):
    shutil.copytree(quick, tmp_path / "clip")
    config = json.loads((quick / "config.json").read_text()) | {"noise_aware": True}
    (tmp_path / "clip" / "config.json").write_text(json.dumps(config))
    clip, plain_clip, t = load_clip(tmp_path / "clip"), load_clip(quick), torch.tensor(0.5, dtype=torch.float64)
    assert clip.noise_aware and not plain_clip.noise_aware
    text, x_t = clip.embed_texts(["a red fox"]), 2.0 * pictures(2, 32, 32)  # beyond [-1, 1], where pictures are cut off
    got = {sees: drawn(ClipGuidance(scale=3.0, clip=clip, text=text, sees=sees))[1](x_t, t).x_0 for sees in SEES}
    plain, noisy = drawn()[1](x_t, t).x_0, x_t.clone().requires_grad_()
    alpha, sigma = (value.float() for value in CosineSchedule().alpha_sigma(t))
    log_p = clip.logit_scale * (clip.embed_noisy(noisy) @ text.mT).sum()
    expected = plain + 3.0 * sigma**2 / alpha * torch.autograd.grad(log_p, noisy)[0]
    torch.testing.assert_close(got["auto"], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(got["auto"], got["x_t"]) and not torch.equal(got["auto"], got["x_0"])
    ordinary = ClipGuidance(scale=3.0, clip=plain_clip, text=text)
    assert torch.equal(drawn(ordinary)[1](x_t, t).x_0, got["x_0"])
    with pytest.raises(ValueError, match="sees is 'noise': expected one of auto, x_0, x_t"):
        ClipGuidance(clip=clip, text=text, sees="noise")


def test_more_guidance_is_more_alike_and_none_is_off(quick):
    with torch.inference_mode():
        clip = load_clip(quick)
        text = clip.embed_texts(["a red fox"])
        plain, off, weak, strong = (
            drawn(ClipGuidance(scale=scale, clip=each, text=text))[0]
            for scale, each in ((50.0, None), (0.0, clip), (5.0, clip), (50.0, clip))
        )
    assert torch.equal(plain, off)
    likeness = [clip_ranking(clip, x, "a red fox").scores.mean().item() for x in (plain, weak, strong)]
    assert likeness == sorted(likeness) and likeness[2] > likeness[0] + 0.01


# ---- what is refused ----


def test_what_is_no_whole_clip_is_said_in_a_line(quick, tmp_path):
    weights = load_file(quick / "model.safetensors")
    file = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="holds no CLIP tower"):
        load_clip(file)
    lost = "vision_model.encoder.layers.1.mlp.fc2.weight"
    save_file({name: w for name, w in weights.items() if name != lost}, file)
    with pytest.raises(ValueError, match=f"lacks '{lost}'"):
        load_clip(file, tokenizer=quick)
    save_file(weights | {lost: torch.zeros(3, 3)}, file)
    with pytest.raises(ValueError, match=f"'{lost}' has shape"):
        load_clip(file, tokenizer=quick)
    save_file({name: w for name, w in weights.items() if name.startswith("vision")}, file)
    with pytest.raises(ValueError, match="no vision tower with a projection"):
        load_clip(file).embed_pixels(pictures())
    with pytest.raises(ValueError, match="holds no CLIP text tower"):
        load_clip(file, towers=["text"])
    with pytest.raises(ValueError, match="activation is 'mish'"):
        load_clip(quick, activation="mish")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="a 'bert' model, not a CLIP"):
        load_clip(tmp_path)
    config = json.loads((quick / "config.json").read_text())
    config["text_config"]["num_attention_heads"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(quick / "model.safetensors", tmp_path)
    with pytest.raises(ValueError, match="config.json describes no CLIP: hidden_size 128 is no multiple"):
        load_clip(tmp_path)
