"""Does a GLIDE file put out what its parts do elsewhere, step as published, and say what is wrong with a file or a prompt?

The peers: diffusers' UNet2DConditionModel for the U-Net, torch's TransformerEncoder for the transformer that reads the
prompt, and the steps of Improved DDPM and DDIM written down once more. Layouts are tested, published weights are not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import original_weights

from imagen_core import Draw, InitImage, inspect_checkpoint, load_stage, load_text_encoder, read_spec, typed_prompt
from imagen_core.checkpoints.conversion import convert_weights
from imagen_core.checkpoints.glide_keys import key_table
from imagen_core.checkpoints.readers.glide import PUBLISHED
from imagen_core.conditioning import TextEmbeds
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.noise import BatchNoise
from imagen_core.prompts import Prompt
from imagen_core.samplers import time_grid
from imagen_core.samplers._base import levels
from imagen_core.samplers.ddim import DDIM
from imagen_core.samplers.ddpm import DDPM
from imagen_core.sampling import denoiser_of, sample_base, super_resolve, told_to_draw
from imagen_core.unets import ADM

FORWARD, STEP, PICTURE = 5e-5, 3e-4, 5e-3
ROOT = Path(__file__).resolve().parents[2]
WORDS, WIDTH, HEADS, TOKENS = 50257, 32, 2, 12
FLAGS = {"num_head_channels": "32", "xf_heads": str(HEADS)}
BASE = FLAGS | {"image_size": "16", "noise_schedule": "squaredcos_cap_v2"}
LARGE = FLAGS | {"image_size": "16", "noise_schedule": "linear"}
PROMPT = "A Corgi wearing a red bowtie"
IDS = [64, 1162, 12397, 5762, 257, 2266, 9563, 36224]  # of "a corgi wearing a red bowtie", by GPT-2's encoder.json


class Peer(torch.nn.Module):
    """peer(x with what is joined to it, t, ids, mask) -> (b 6 h w), from parts that are none of ours."""

    def __init__(self, channels: int) -> None:
        from diffusers import UNet2DConditionModel

        super().__init__()
        torch.manual_seed(0)
        self.unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=channels,
            out_channels=6,
            layers_per_block=1,
            block_out_channels=(32, 64),
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            cross_attention_dim=WIDTH,
            attention_head_dim=32,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        )
        layer = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 4 * WIDTH, "activation": "gelu"}
        layer = torch.nn.TransformerEncoderLayer(**layer, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.places, self.padding = (torch.nn.Parameter(torch.randn(TOKENS, WIDTH)) for _ in range(2))
        self.projection = torch.nn.Linear(WIDTH, 128)
        for parameter in self.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
        self.eval().requires_grad_(False)

    def forward(self, x, time, ids, mask):
        read = self.transformer(torch.where(mask[..., None], self.words(ids) + self.places, self.padding))
        return self.unet(x, time, read, class_labels=self.projection(read[:, -1])).sample

    def asked(self, x, time, texts):
        """The same for texts, cut and padded as GLIDE's own tokenizer hands them over."""
        rows = [IDS if text == PROMPT else [] for text in texts]
        ids = torch.tensor([row + [WORDS - 1] * (TOKENS - len(row)) for row in rows])
        return self(x, time, ids, torch.tensor([[i < len(row) for i in range(TOKENS)] for row in rows]))

    def weights(self):
        """As GLIDE's files name and cut them."""
        found = original_weights(self.unet) | {
            "token_embedding.weight": self.words.weight,
            "positional_embedding": self.places,
            "padding_embedding": self.padding,
        }
        linear = {"transformer_proj": self.projection, "final_ln": self.transformer.norm}
        for i, layer in enumerate(self.transformer.layers):
            place = f"transformer.resblocks.{i}"
            linear |= {f"{place}.attn.c_proj": layer.self_attn.out_proj, f"{place}.ln_1": layer.norm1}
            linear |= {f"{place}.mlp.c_fc": layer.linear1, f"{place}.mlp.c_proj": layer.linear2}
            linear[f"{place}.ln_2"] = layer.norm2
            for kind in ("weight", "bias"):
                rows = getattr(layer.self_attn, f"in_proj_{kind}").unflatten(0, (3, HEADS, -1))  # 3 n k ...
                found[f"{place}.attn.c_qkv.{kind}"] = rows.transpose(0, 1).flatten(0, 2)
        found |= {f"{name}.{kind}": getattr(part, kind) for name, part in linear.items() for kind in ("weight", "bias")}
        return {key: tensor.clone().contiguous() for key, tensor in found.items()}


def made(folder: Path, channels: int, flags: dict[str, str]):
    peer = Peer(channels)
    save_file(peer.weights(), folder / f"{channels}.safetensors", metadata=flags)
    return peer, folder / f"{channels}.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("glide")


@pytest.fixture(scope="module")
def base(folder):
    return made(folder, 3, BASE)


@pytest.fixture(scope="module")
def repainting(folder):
    return made(folder, 7, BASE)


@pytest.fixture(scope="module")
def enlarging(folder):
    return made(folder, 6, LARGE)


@pytest.fixture(scope="module")
def repainting_larger(folder):
    return made(folder, 10, LARGE)


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder(ROOT / "models" / "glide" / "text_encoder")


@pytest.fixture
def prompt(encoder):
    return typed_prompt(encoder, PROMPT)


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hole(batch=1):
    """A picture (b 3 16 16) whose right half is to be repainted."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1.0
    return InitImage(pixels=random(batch, 3, 16, 16, seed=5).clamp(-1, 1), mask=mask)


def kept(init):
    """The same as GLIDE is shown it: what stays, and 1 where."""
    return init.pixels * (1 - init.mask), (1 - init.mask).expand(len(init.pixels), -1, -1, -1)


def noise_left(kind: str, timestep: int) -> float:
    """alpha_bar after so many of 1000 steps: Improved DDPM, Eq. 17, each beta at most .999; or DDPM's line of betas."""
    steps = torch.arange(1001, dtype=torch.float64)
    curve = torch.cos((steps / 1000 + 0.008) / 1.008 * torch.pi / 2).square()
    betas = {
        "squaredcos_cap_v2": (1 - curve[1:] / curve[:-1]).clamp(max=0.999),
        "linear": torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64),
    }[kind]
    return (1 - betas).cumprod(0)[timestep].item() if timestep >= 0 else 1.0


def believed(output, x_t, bar):
    """x_0 of eps, (b 3 h w)."""
    return (x_t - (1 - bar) ** 0.5 * output) / bar**0.5


# ---- the files ----

FILES = {  # stem, parameters and tensors, as counted of OpenAI's own code (glide.md)
    "base": (3, 385_030_726, 783),
    "base_inpaint": (7, 385_037_638, 783),
    "upsample": (6, 398_361_286, 797),
    "upsample_inpaint": (10, 398_368_198, 797),
}
DRAWN = {"steps": 100, "sampler": "ddpm", "guidance_scale": 3.0, "thresholding": "static"}
ENLARGED = {"steps": 27, "sampler": "ddim", "spacing": "glide27", "guidance_scale": 1.0, "thresholding": "static"}
DEFAULTS = {
    "base": DRAWN,
    "base_inpaint": DRAWN | {"guidance_scale": 5.0},
    "upsample": ENLARGED | {"temperature": 0.997},
    "upsample_inpaint": ENLARGED | {"temperature": 0.997, "sampler": "ddpm"},
}


def published(name):
    """Shapes by key of one of OpenAI's four files, written from the description of its network."""
    stem, *_ = FILES[name]
    (channels, _), attending, depth = (
        (list(PUBLISHED.items())[0], (1, 2, 3), 3) if stem in (3, 7) else (list(PUBLISHED.items())[1], (3, 4, 5), 2)
    )
    found = {"input_blocks.0.0.weight": (192, stem, 3, 3), "input_blocks.0.0.bias": (192,)}
    found |= {"time_embed.0.weight": (768, 192), "time_embed.2.weight": (768, 768), "out.2.weight": (6, 192, 3, 3)}
    found |= {f"time_embed.{i}.bias": (768,) for i in (0, 2)} | {"out.2.bias": (6,)}
    found |= {f"out.0.{kind}": (192,) for kind in ("weight", "bias")}
    found |= {
        "token_embedding.weight": (50257, 512),
        "transformer_proj.weight": (768, 512),
        "transformer_proj.bias": (768,),
    }
    found |= {f"{name}_embedding": (128, 512) for name in ("positional", "padding")}
    found |= {f"final_ln.{kind}": (512,) for kind in ("weight", "bias")}

    def layer(key, c_out, c_in=None, *axes):
        found.update({f"{key}.weight": (c_out, *(() if c_in is None else (c_in,)), *axes), f"{key}.bias": (c_out,)})

    for i in range(16):
        place = f"transformer.resblocks.{i}"
        for key, sizes in {"attn.c_qkv": (1536, 512), "attn.c_proj": (512, 512), "mlp.c_fc": (2048, 512)}.items():
            layer(f"{place}.{key}", *sizes)
        layer(f"{place}.mlp.c_proj", 512, 2048)
        layer(f"{place}.ln_1", 512)
        layer(f"{place}.ln_2", 512)

    def block(place, c_in, c_out):
        layer(f"{place}.in_layers.0", c_in)
        layer(f"{place}.in_layers.2", c_out, c_in, 3, 3)
        layer(f"{place}.emb_layers.1", 2 * c_out, 768)
        layer(f"{place}.out_layers.0", c_out)
        layer(f"{place}.out_layers.3", c_out, c_out, 3, 3)
        if c_in != c_out:
            layer(f"{place}.skip_connection", c_out, c_in, 1, 1)

    def attention(place, c):
        layer(f"{place}.norm", c)
        layer(f"{place}.qkv", 3 * c, c, 1)
        layer(f"{place}.encoder_kv", 2 * c, 512, 1)
        layer(f"{place}.proj_out", c, c, 1)

    number, width, skips = 0, 192, [192]
    for level, c in enumerate(channels):
        for last in [False] * depth + [True] * (level + 1 < len(channels)):
            number += 1
            block(f"input_blocks.{number}.0", width, c)
            if level in attending and not last:
                attention(f"input_blocks.{number}.1", c)
            width = c
            skips.append(c)
    block("middle_block.0", width, width)
    attention("middle_block.1", width)
    block("middle_block.2", width, width)
    number = 0
    for level, c in reversed(list(enumerate(channels))):
        for j in range(depth + 1):
            block(f"output_blocks.{number}.0", width + skips.pop(), c)
            if level in attending:
                attention(f"output_blocks.{number}.1", c)
            if level and j == depth:
                block(f"output_blocks.{number}.{2 if level in attending else 1}", c, c)
            width = c
            number += 1
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_published_file_is_known_by_its_header(name, tmp_path):
    """All four at their full size, in files of that length that hold nothing: headers alone are read."""
    stem, parameters, tensors = FILES[name]
    shapes, header, place = published(name), {}, 0
    for key, shape in shapes.items():
        end = place + 4 * torch.Size(shape).numel()
        header[key], place = {"dtype": "F32", "shape": shape, "data_offsets": [place, end]}, end
    described = json.dumps(header).encode()
    path = tmp_path / "renamed.safetensors"
    with path.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        file.truncate(8 + len(described) + place)
    found = inspect_checkpoint(path)
    assert (found["kind"], found["parameters"], len(shapes)) == ("GLIDE stage", parameters, tensors)
    spec = read_spec(path)
    assert spec.stage == ("base64" if stem in (3, 7) else "sr256") and spec.unet_config.stem_channels == stem
    assert spec.schedule_config["betas"] == ("squaredcos_cap_v2" if stem in (3, 7) else "linear")
    assert spec.defaults == DEFAULTS[name] and spec.learned_variance
    assert (spec.text.tokens, spec.text.lower_case, spec.text.cleaned, spec.text.null) == (128, True, False, "empty")
    assert spec.low_res_8bit == (stem in (6, 10)) and spec.low_res_resize == "area_bilinear"
    with torch.device("meta"):
        network = ADM(spec.unet_config)
    assert {key: shape for entry in key_table(network).values() for key, shape in entry.parts.items()} == shapes
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_ids_are_not_rounded_on_their_way_into_half_a_network(half, base, prompt):
    """50256, padding, is no number of float16's, and 9563 none of bfloat16's."""
    found, exact = (
        load_stage(base[1], dtype=dtype).encode_prompt(prompt, 1)["cond"] for dtype in (half, torch.float32)
    )
    torch.testing.assert_close(found.vector.float(), exact.vector, rtol=0, atol=0.06)
    assert exact.vector.std() > 0.3


# ---- the networks ----


@pytest.mark.parametrize("time", [0, 417, 999])
def test_a_file_puts_out_what_its_parts_do(time, base, prompt):
    peer, path = base
    stage, x_t = load_stage(path), random(2, 3, 16, 16)
    with torch.inference_mode():
        for branch, text in (("cond", PROMPT), ("null", "")):
            told = stage.encode_prompt(prompt, 2)[branch]
            expected = peer.asked(x_t, time, [text] * 2)
            found = stage.unet(x_t, torch.full((2,), float(time)), told)
            assert expected.std() > 0.05
            assert (found - expected).abs().max() < FORWARD


def test_what_is_joined_to_x_t_comes_in_the_published_order(repainting_larger, prompt):
    peer, path = repainting_larger
    stage, init, x_t, small = load_stage(path), hole(), random(1, 3, 16, 16), random(1, 3, 4, 4, seed=3).clamp(-1, 1)
    seen = []
    hook = stage.unet.register_forward_pre_hook(lambda _, given: seen.append(given))
    super_resolve(stage, small, prompt, Draw(seeds=(0,), steps=1, sampler=DDIM(), spacing="uniform", init=init))
    hook.remove()
    (_, _, told), *_ = seen
    low_res = F.interpolate(((small + 1) * 127.5).round() / 127.5 - 1, (16, 16), mode="bilinear")
    expected = torch.cat([*kept(init), low_res], dim=1)
    torch.testing.assert_close(told.pixels, expected, rtol=0, atol=1e-6)
    with torch.inference_mode():
        found = stage.unet(x_t, torch.tensor([300.0]), told)
        assert (found - peer.asked(torch.cat([x_t, expected], 1), 300, [PROMPT])).abs().max() < FORWARD


# ---- the steps ----


def ancestral(peer, x_t, t, s, *, scale, noise, joined=(), init=None):
    """GLIDE's step from timestep t to s with the guidance of its notebooks; `init` as they force it."""
    cond, null = (peer.asked(torch.cat([x_t, *joined], 1), t, [text] * len(x_t)) for text in (PROMPT, ""))
    bar, bar_s = (noise_left("squaredcos_cap_v2", step) for step in (t, s))
    x_0 = believed(null[:, :3] + scale * (cond[:, :3] - null[:, :3]), x_t, bar)
    if init is not None:
        x_0 = x_0 * init.mask + init.pixels * (1 - init.mask)
    x_0 = x_0.clamp(-1, 1)
    beta = 1 - bar / bar_s
    posterior = beta * (1 - bar_s) / (1 - bar)
    mean = beta * bar_s**0.5 / (1 - bar) * x_0 + (bar / bar_s) ** 0.5 * (1 - bar_s) / (1 - bar) * x_t
    share = (cond[:, 3:] + 1) / 2
    log_variance = share * torch.log(torch.tensor(beta)) + (1 - share) * torch.log(torch.tensor(posterior))
    return mean + (0.5 * log_variance).exp() * noise


@pytest.mark.parametrize("step", [0, 50, 98])
def test_a_guided_ancestral_step_is_theirs(step, base, prompt):
    peer, path = base
    stage, x_t, noise = load_stage(path), random(2, 3, 16, 16), random(2, 3, 16, 16, seed=2)
    draw = Draw(seeds=(0, 1), steps=100, sampler=DDPM(), guidance=ClassifierFreeGuidance(scale=3.0))
    pair = [round(i * 999 / 99) for i in range(100)][::-1][step : step + 2]
    with torch.inference_mode():
        told = lambda stage: told_to_draw(stage, prompt, draw, (2, 3, 16, 16))
        denoise = denoiser_of(stage, told, prompt, draw, 2, (16, 16))
        grid = levels(stage.schedule, time_grid(stage.schedule, 100)[step : step + 2])
        found = DDPM().advance(denoise, x_t, grid, lambda: noise)
        expected = ancestral(peer, x_t, *pair, scale=3.0, noise=noise)
    assert (found - expected).abs().max() < STEP


def test_a_picture_is_repainted_as_in_their_notebook(repainting, prompt):
    """Ten of their steps with the mask, where it repaints; what stays is equal to the bit."""
    peer, path = repainting
    stage, init = load_stage(path), hole()
    draw = Draw(seeds=(7,), steps=10, sampler=DDPM(), guidance=ClassifierFreeGuidance(scale=5.0), init=init)
    found = sample_base(stage, prompt, draw, height=16, width=16)
    noise = BatchNoise((7,))
    x_t, joined = noise((3, 16, 16)), kept(init)
    timesteps = [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    with torch.inference_mode():
        for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
            if s < 0:
                cond, null = (peer.asked(torch.cat([x_t, *joined], 1), t, [text]) for text in (PROMPT, ""))
                output = null[:, :3] + 5.0 * (cond[:, :3] - null[:, :3])
                x_t = believed(output, x_t, noise_left("squaredcos_cap_v2", t)).clamp(-1, 1)
            else:
                fresh = noise((3, 16, 16))
                # There known pixels take a learned variance's noise as well; here the posterior's, which is exact.
                x_s = ancestral(peer, x_t, t, s, scale=5.0, noise=fresh, joined=joined, init=init)
                bar, bar_s = (noise_left("squaredcos_cap_v2", step) for step in (t, s))
                beta = 1 - bar / bar_s
                mean = beta * bar_s**0.5 / (1 - bar) * init.pixels
                mean = mean + (bar / bar_s) ** 0.5 * (1 - bar_s) / (1 - bar) * x_t
                x_t = x_s.where(init.mask > 0, mean + (beta * (1 - bar_s) / (1 - bar)) ** 0.5 * fresh)
    assert torch.equal(found[..., :8], init.pixels[..., :8])
    assert (found - x_t)[..., 8:].abs().max() < PICTURE


# "fast27": 2 of each of the two noisiest fifths of 1000 timesteps, 3, 10 and 10, and 997 in the place of 999.
FAST27 = [997, 800, 799, 600, 599, 500, 400, 399, 377, 355, 333, 311, 288, 266, 244, 222, 200]
FAST27 += [199, 177, 155, 133, 111, 88, 66, 44, 22, 0]


def test_the_upsampler_draws_by_its_own_defaults(enlarging, prompt):
    """27 steps of DDIM from noise of .997, on a small picture of 8 bits."""
    peer, path = enlarging
    stage, small = load_stage(path), random(1, 3, 4, 4, seed=3).clamp(-1, 1)
    assert (time_grid(stage.schedule, 27, "glide27") * 999).round().int().tolist() == FAST27
    found = super_resolve(stage, small, prompt, Draw(seeds=(3,), steps=27, sampler=DDIM()))
    low_res = F.interpolate(((small + 1) * 127.5).round() / 127.5 - 1, (16, 16), mode="bilinear")
    assert (low_res - F.interpolate(small, (16, 16), mode="bilinear")).abs().max() > 1e-3
    x_t = 0.997 * BatchNoise((3,))((3, 16, 16))
    with torch.inference_mode():
        for t, s in zip(FAST27, [*FAST27[1:], -1], strict=True):
            bar, bar_s = (noise_left("linear", step) for step in (t, s))
            x_0 = believed(peer.asked(torch.cat([x_t, low_res], 1), t, [PROMPT])[:, :3], x_t, bar).clamp(-1, 1)
            eps = (x_t - bar**0.5 * x_0) / (1 - bar) ** 0.5
            x_t = bar_s**0.5 * x_0 + (1 - bar_s) ** 0.5 * eps
    assert (found - x_t).abs().max() < PICTURE
    warmer = super_resolve(stage, small, prompt, Draw(seeds=(3,), steps=27, sampler=DDIM(), temperature=1.0))
    assert (warmer - found).abs().max() > 2 * PICTURE


# ---- the way from a .pt, and what is wrong ----


def test_a_pt_file_becomes_a_stage_and_a_wrong_one_is_named(base, tmp_path):
    peer, _ = base
    torch.save(peer.weights(), tmp_path / "base.pt")
    assert read_spec(convert_weights(tmp_path / "base.pt", facts=BASE)).stage == "base16"
    (tmp_path / "base.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no published GLIDE network has levels \(32, 64\).*--flag image_size=64"):
        read_spec(convert_weights(tmp_path / "base.pt"))
    weights = peer.weights()
    weights["input_blocks.0.0.weight"] = torch.zeros(32, 5, 3, 3)
    for changed, flags, word in (
        (weights, BASE, "reads 5 channels, and GLIDE's stages read 3 to draw, 7 to repaint"),
        (peer.weights(), BASE | {"noise_schedule": "sqrt"}, "noise_schedule is 'sqrt'"),
        (peer.weights(), BASE | {"xf_heads": "5"}, "text_width 32 does not split into 5"),
    ):
        save_file(changed, tmp_path / "wrong.safetensors", metadata=flags)
        with pytest.raises(ValueError, match=word) as caught:
            read_spec(tmp_path / "wrong.safetensors")
        assert "\n" not in str(caught.value)


def test_a_prompt_of_another_encoder_and_a_network_told_too_little_are_named(base, repainting, prompt, encoder):
    stage = load_stage(base[1])
    foreign = TextEmbeds(embeds=torch.zeros(1, 12, 64), mask=torch.ones(1, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="reads a prompt's token ids itself.*glide/text_encoder"):
        stage.encode_prompt(Prompt(text=foreign, negative=foreign), 1)
    short = typed_prompt(encoder, PROMPT, padding="none").text
    with pytest.raises(ValueError, match="tokens long.*exactly 12: leave padding of Imagen Text Encode at auto"):
        stage.encode_prompt(Prompt(text=short, negative=short), 1)
    other = TextEmbeds(embeds=torch.full((1, 12, 1), float(WORDS)), mask=torch.ones(1, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="none of the 50257"):
        stage.encode_prompt(Prompt(text=other, negative=other), 1)
    stage = load_stage(repainting[1])
    with pytest.raises(ValueError, match="is shown known, mask beside x_t, 4 channels in this order, and was told 0"):
        stage.unet(random(1, 3, 16, 16), torch.zeros(1), stage.encode_prompt(prompt, 1)["cond"])
    with pytest.raises(ValueError, match="temperature 3.0 is outside"):
        Draw(seeds=(0,), temperature=3.0)


def test_the_vocabulary_cuts_any_text_and_a_damaged_one_is_named(encoder, tmp_path):
    """GPT-2's ids, as its encoder.json has them; no mark can be typed, and long prompts are cut with a warning."""
    for text, ids in ((PROMPT.lower(), IDS), ("it's", [270, 338]), ("漢", [162, 120, 95]), ("<|endoftext|>", None)):
        found = encoder.encode([text], pad_to=24)
        count = int(found.mask.sum())
        assert ids is None or found.embeds[0, :count, 0].int().tolist() == ids
        assert encoder.tokenizer.text(found.embeds[0, :count, 0].int().tolist()) == text
        assert (found.embeds[0, count:] == 50256).all() and not (found.embeds[0, :count] == 50256).any()
    with pytest.warns(UserWarning, match="longer than the 12 tokens.*cut"):
        encoder.encode(["word " * 20], pad_to=12)
    assert inspect_checkpoint(ROOT / "models" / "glide" / "text_encoder")["kind"] == "vocabulary of byte pairs"
    (tmp_path / "config.json").write_text('{"model_type": "byte_pairs"}')
    with pytest.raises(FileNotFoundError, match="no byte pairs at"):
        load_text_encoder(tmp_path)
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(ValueError, match="cannot be read as byte pairs"):
        load_text_encoder(tmp_path)
