"""Does the text encoder equal transformers' own, and survive what people type?"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from t5_files import make_folder
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from imagen_core import TypedPrompt, encode_prompt, typed_prompt
from imagen_core.conditioning import TextEmbeds
from imagen_core.text.cache import EncodedPrompts
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.tokenizer import fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random T5 as people find it on disk."""
    return make_folder(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_text_encoder(folder)


def test_equals_transformers(folder, encoder):
    prompts = ["a red cube", "two blue rings and a sphere", ""]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")
    tokens = tokenizer(prompts, return_tensors="pt", padding=True)
    peer = T5EncoderModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        expected = peer(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    text = encoder.encode(prompts)
    mask = tokens.attention_mask.bool()
    assert torch.equal(text.mask, mask)
    torch.testing.assert_close(text.embeds[mask], expected[mask], atol=1e-5, rtol=1e-5)
    assert text.embeds[~mask].abs().max() == 0
    assert encoder.embed_dim == 32 and text.embeds.shape[-1] == 32


def test_padded_to_77_equals_transformers_at_every_row(folder):
    """DeepFloyd IF's networks attend to the pads too: the rows there must be what a masked T5 gives."""
    encoder = load_text_encoder(folder)
    prompts = ["a red cube", "two blue rings " * 40, ""]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")
    tokens = tokenizer(prompts, return_tensors="pt", padding="max_length", max_length=77, truncation=True)
    assert tokens.input_ids[1].tolist()[-1] == 1  # the cut prompt keeps its end mark
    peer = T5EncoderModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        expected = peer(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    with pytest.warns(UserWarning, match="longer than the 77 tokens"):
        text = encoder.encode(prompts, pad_to=77)
    assert torch.equal(text.mask, tokens.attention_mask.bool()) and text.mask[2].sum() == 1
    torch.testing.assert_close(text.embeds, expected, atol=1e-5, rtol=1e-5)
    assert text.embeds[2, 1:].abs().min() > 0  # not zeroed
    torch.testing.assert_close(encoder.encode(["a red cube"], pad_to=77).embeds, expected[:1], atol=1e-5, rtol=1e-5)
    assert encoder.encode(["a red cube"]).embeds.shape[1] == 4  # both kept apart in memory


def test_prompt_for_deepfloyd_is_read_in_lower_case_and_its_null_is_an_empty_text(folder):
    encoder = load_text_encoder(folder)
    prompt = encode_prompt(encoder, "  A Red CUBE\n", pad_to=77)
    assert torch.equal(prompt.text.embeds, encoder.encode(["a red cube"], pad_to=77).embeds)
    assert torch.equal(prompt.negative.embeds, encoder.encode([""], pad_to=77).embeds)
    assert encode_prompt(encoder, "A", "  ").negative is None
    misses = encoder.remembered.misses
    encode_prompt(encoder, "a red cube", " ", pad_to=77)
    assert encoder.remembered.misses == misses


def test_padding_choices(encoder):
    lengths = {
        choice: typed_prompt(encoder, "a", padding=choice).text.embeds.shape[1] for choice in ("none", "77", "5")
    }
    assert lengths == {"none": 2, "77": 77, "5": 5} and isinstance(typed_prompt(encoder, "a"), TypedPrompt)
    for choice in ("long", "0", "-3"):
        with pytest.raises(ValueError, match="padding"):
            typed_prompt(encoder, "a", padding=choice)
    with pytest.raises(ValueError, match="pad_to is 0"):
        encoder.encode(["a"], pad_to=0)


def test_empty_prompt_is_its_end_mark(encoder):
    text = encoder.encode([""])
    assert text.mask.tolist() == [[True]]
    assert torch.isfinite(text.embeds).all() and text.embeds.abs().sum() > 0


@pytest.mark.parametrize(
    "prompt", ["🦊 a cube 🧊", "كرة حمراء", "\ud83d lone surrogate", "\x00\n\t", "</s> <pad>", "ﬁ" * 9]
)
def test_odd_text_is_read(encoder, prompt):
    assert torch.isfinite(encoder.encode([prompt]).embeds).all()


def test_long_text_is_cut_with_a_warning(encoder):
    with pytest.warns(UserWarning, match="6 tokens.*cut after 'a red cube a red'"):
        text = encoder.encode(["a red cube a red cube a red cube"], max_length=6)
    assert text.mask.tolist() == [[True] * 6]
    torch.testing.assert_close(text.embeds, encoder.encode(["a red cube a red"]).embeds)


def test_exactly_full_text_is_not_cut(encoder, recwarn):
    assert encoder.encode(["a red cube"], max_length=4).mask.shape == (1, 4)
    assert not recwarn.list


def test_repeated_prompts_come_from_memory(folder):
    encoder = load_text_encoder(folder)
    first = encoder.encode(["a red cube", "a sphere", "a red cube"])
    assert encoder.remembered.misses == 3 and len(encoder.remembered) == 2
    again = encoder.encode(["a red cube"])
    assert encoder.remembered.hits == 1
    assert torch.equal(again.embeds[0], first.embeds[0])
    again.embeds.zero_()
    assert encoder.encode(["a red cube"]).embeds.abs().sum() > 0
    assert encoder.encode(["a red cube"], max_length=100).embeds.shape == again.embeds.shape


def test_more_prompts_than_memory(folder):
    encoder = load_text_encoder(folder)
    encoder.remembered = EncodedPrompts(1)
    prompts = ["a red cube", "a sphere", "two rings"]
    text = encoder.encode(prompts)
    alone = [encoder.encode([prompt]) for prompt in prompts]
    for row, single in zip(text.embeds, alone, strict=True):
        torch.testing.assert_close(row[: single.embeds.shape[1]], single.embeds[0], atol=1e-5, rtol=1e-5)
    assert len(encoder.remembered) == 1


def test_least_recently_used_is_forgotten():
    cache = EncodedPrompts(2)
    for key in ("a", "b"):
        cache.put(key, torch.zeros(1))
    assert cache.get("a") is not None
    cache.put("c", torch.zeros(1))
    assert cache.missing(["a", "b", "c"]) == ["b"]


def test_encodings_made_in_inference_mode_can_be_trained_on(folder):
    encoder = load_text_encoder(folder)
    with torch.inference_mode():
        encoder.encode(["a red cube"])
    layer = torch.nn.Linear(32, 1)
    layer(encoder.encode(["a red cube"]).embeds).sum().backward()
    assert layer.weight.grad is not None


def test_null_is_one_token_of_zeros():
    null = TextEmbeds.null(2, 32)
    assert null.embeds.shape == (2, 1, 32) and null.embeds.abs().sum() == 0 and null.mask.all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(folder, encoder, dtype):
    half = load_text_encoder(folder, dtype=dtype).encode(["a red cube"])
    assert half.embeds.dtype == torch.float32
    torch.testing.assert_close(half.embeds, encoder.encode(["a red cube"]).embeds, atol=0.1, rtol=0.1)


def copied(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_sharded_weights(folder, encoder, tmp_path):
    copied(folder, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    T5EncoderModel.from_pretrained(folder, local_files_only=True).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    sharded = load_text_encoder(tmp_path).encode(["a red cube"])
    torch.testing.assert_close(sharded.embeds, encoder.encode(["a red cube"]).embeds)


def test_single_file_without_config(folder, encoder, tmp_path):
    file = tmp_path / "t5_fp32.safetensors"
    file.write_bytes((folder / "model.safetensors").read_bytes())
    single = load_text_encoder(file, tokenizer=folder / "tokenizer.json")
    assert torch.equal(single.encode(["a red cube"]).embeds, encoder.encode(["a red cube"]).embeds)


def test_single_file_of_another_model(folder, tmp_path):
    save_file({"shared.weight": torch.zeros(2, 2)}, tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match="clip.safetensors.*no T5"):
        load_text_encoder(tmp_path / "clip.safetensors", tokenizer=folder)
    with pytest.raises(FileNotFoundError, match="none"):
        load_text_encoder(tmp_path / "none", tokenizer=folder)
    with pytest.raises(FileNotFoundError, match="no tokenizer"):
        load_text_encoder(folder / "model.safetensors", tokenizer=tmp_path / "none")


def test_sentencepiece_folder(folder, tmp_path):
    """spiece.model is read as transformers' T5 tokenizers read it."""
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a red cube\ntwo blue rings and a sphere\n" * 20)
    settings = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 40, "hard_vocab_limit": False}
    target = copied(folder, tmp_path)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(target / "spiece"), minloglevel=2, **settings
    )
    (target / "tokenizer.json").unlink()
    encoder = load_text_encoder(target)
    ids = encoder._token_ids("two red rings 🦊", 99)
    assert ids[-1] == 1 and 2 in ids and encoder.tokenizer.text(ids[:-1]).startswith("two red rings")
    assert encoder.encode(["", "two red rings 🦊"]).mask.sum().item() == 1 + len(ids)
    (target / "spiece.model").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="spiece.model"):
        load_text_encoder(target)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named(folder, tmp_path, name):
    (copied(folder, tmp_path) / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_text_encoder(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_truncated_file_is_named(folder, tmp_path, name):
    file = copied(folder, tmp_path) / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=name):
        load_text_encoder(tmp_path)


def test_missing_folder_and_pickled_weights(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_text_encoder(tmp_path / "nowhere")
    copied(folder, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pickle"):
        load_text_encoder(tmp_path)


def test_config_of_another_size_names_the_key(folder, tmp_path):
    config = json.loads((copied(folder, tmp_path) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"d_ff": 40}))
    with pytest.raises(ValueError, match=r"DenseReluDense.*has shape"):
        load_text_encoder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"num_layers": 10**9},
        {"num_layers": -1},
        {"d_model": "wide"},
        {"d_kv": None},
        {"num_heads": 1.5},
        {"relative_attention_num_buckets": 2},
        {"relative_attention_max_distance": 1},
        {"eos_token_id": 64},
        {"layer_norm_epsilon": "small"},
        {"feed_forward_proj": "gated-swish"},
    ],
)
def test_config_that_describes_no_t5(folder, tmp_path, change):
    config = json.loads((copied(folder, tmp_path) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match="config.json"):
        load_text_encoder(tmp_path)


@pytest.mark.parametrize("texts", [[], "a red cube"])
def test_needs_a_list_of_prompts(encoder, texts):
    with pytest.raises(ValueError, match="list"):
        encoder.encode(texts)


def test_another_models_vocabulary_does_not_fit():
    class Sized:
        def __init__(self, size):
            self.size = size

    assert [fits(Sized(size), 32128) for size in (32000, 32100, 30522, 32129)] == [True, True, False, False]
