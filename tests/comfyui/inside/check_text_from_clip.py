"""Is the T5 inside ComfyUI's CLIP read as our own encoder reads the same weights, for each way that ComfyUI holds it?"""

import comfy.sd
import comfy.text_encoders.t5
import pytest
import torch
from comfy import sd1_clip
from comfy.text_encoders import pixart_t5, sd3_clip
from safetensors.torch import save_file

SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "num_layers": 2, "vocab_size": 32128}
CONFIG = {**SIZES, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True, "model_type": "t5"}
PROMPTS = ["a red cube", "A Photo of (two:1.3) kangaroos, \\(really\\), in an orange hoodie! ", "word " * 100, ""]


class TinyT5(sd1_clip.SDClipModel):
    """ComfyUI's own T5XXLModel but for the size, which is fixed there."""

    def __init__(
        self, device="cpu", layer="last", layer_idx=None, dtype=None, model_options=None, attention_mask=False
    ):
        super().__init__(
            device=device,
            layer=layer,
            layer_idx=layer_idx,
            textmodel_json_config=dict(CONFIG),
            dtype=dtype,
            special_tokens={"end": 1, "pad": 0},
            model_class=comfy.text_encoders.t5.T5,
            enable_attention_masks=attention_mask,
            return_attention_masks=attention_mask,
            model_options={**(model_options or {}), "model_name": "t5xxl"},
        )


def target(masked, tokenizer):
    class Model(sd1_clip.SD1ClipModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            options = model_options or {}
            super().__init__(
                device=device,
                dtype=dtype,
                name="t5xxl",
                clip_model=TinyT5,
                model_options=options,
                attention_mask=masked,
            )

    class Target:
        params = {}
        clip = Model

    Target.tokenizer = tokenizer
    return Target


@pytest.fixture(params=["unmasked, at least 77 (SD3, Flux)", "masked, unpadded (PixArt)"])
def clip(request):
    masked = request.param.startswith("masked")
    tokenizer = pixart_t5.PixArtTokenizer if masked else Sd3T5Tokenizer
    clip = comfy.sd.CLIP(target(masked, tokenizer), model_options={"dtype": torch.float32})
    generator = torch.Generator().manual_seed(0)
    for name, parameter in clip.cond_stage_model.t5xxl.transformer.named_parameters():
        spread = 1.0 if name == "shared.weight" or "norm" in name or "bias" in name else 0.25
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return clip


class Sd3T5Tokenizer(sd1_clip.SD1Tokenizer):
    def __init__(self, embedding_directory=None, tokenizer_data=None):
        super().__init__(tokenizer_data=tokenizer_data or {}, clip_name="t5xxl", tokenizer=sd3_clip.T5XXLTokenizer)


@pytest.fixture
def ours(clip, core, tmp_path):
    """The same weights through our own loader; the tokenizer is found in ComfyUI."""
    weights = clip.cond_stage_model.t5xxl.transformer.state_dict()
    save_file({name: value.clone().contiguous() for name, value in weights.items()}, tmp_path / "t5xxl.safetensors")
    host = __import__("sys").modules[core.__name__.removesuffix("imagen_core") + "nodes._host"]
    return core.load_text_encoder(tmp_path / "t5xxl.safetensors", tokenizer_places=host.tokenizer_places())


@pytest.mark.parametrize("padding", ["77", "none"])
@pytest.mark.parametrize("text", PROMPTS)
def test_equals_our_own_encoder(run, core, clip, ours, text, padding):
    negative = "blurry, LOW quality"
    pad_to = 77 if padding == "77" else None
    with pytest.warns() if text.startswith("word") and pad_to else _nothing():
        found = run("ImagenTextFromCLIP", clip=clip, text=text, negative_text=negative, padding=padding)[0]
        expected = core.encode_prompt(ours, text, negative, pad_to=pad_to)
    for theirs, mine in ((found.text, expected.text), (found.negative, expected.negative)):
        assert torch.equal(theirs.mask, mine.mask)
        torch.testing.assert_close(theirs.embeds, mine.embeds, atol=2e-4, rtol=2e-4)
        if pad_to:
            assert theirs.embeds.shape[1] == 77


def test_null_prompt_and_known_prompts_are_not_run_again(run, clip):
    t5 = clip.cond_stage_model.t5xxl
    runs, encode = [], t5.encode

    def counted(tokens):
        runs.append(len(tokens))
        return encode(tokens)

    t5.encode = counted
    for text in ("a red cube", "a blue sphere", "a red cube"):
        run("ImagenTextFromCLIP", clip=clip, text=text, negative_text="", padding="77")
    assert len(runs) == 3  # two prompts and one null prompt


def test_the_clip_is_left_as_it_was(run, clip):
    def seen():
        return clip.encode_from_tokens(clip.tokenize("a red cube"), return_dict=True)

    before = seen()
    run("ImagenTextFromCLIP", clip=clip, text="other words", negative_text="", padding="77")
    after = seen()
    assert before.keys() == after.keys()
    assert torch.equal(before["cond"], after["cond"])


def test_a_clip_without_t5_says_so(run, clip):
    del clip.cond_stage_model.t5xxl
    with pytest.raises(ValueError, match="no T5-XXL.*Imagen Load Text Encoder"):
        run("ImagenTextFromCLIP", clip=clip, text="a", negative_text="")


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False
