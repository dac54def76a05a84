"""A BERT beside T5: equal to transformers, from float and int8 files; other encoders through transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagen_core import find_text_encoders, load_text_encoder
from imagen_core.inspection import inspect_checkpoint

transformers = pytest.importorskip("transformers")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "red",
    "fox",
    "on",
    "blue",
    "back",
    "##ground",
    "cat",
    "##s",
    ",",
]
TEXTS = ["a red fox on a blue background", "cats", "", "a red, blue CAT"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny BERT with random weights, as transformers saves it."""
    path = tmp_path_factory.mktemp("encoders") / "bert"
    path.mkdir()
    vocab = path / "vocab.txt"
    vocab.write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=24,
    )
    transformers.BertModel(config).save_pretrained(path)
    transformers.BertTokenizerFast(
        vocab_file=str(vocab), vocab={word: i for i, word in enumerate(WORDS)}
    ).save_pretrained(path)
    return path


@torch.no_grad()
def oracle(folder: Path, text: str) -> torch.Tensor:
    """transformers' last hidden states (l d) of one text."""
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    return model(**tokens).last_hidden_state[0]


def as_int8(folder: Path, to: Path) -> Path:
    """The same encoder with its tables and matrices as int8, one scale a row."""
    weights, stored = load_file(folder / "model.safetensors"), {}
    for name, weight in weights.items():
        if weight.ndim == 2 and "token_type" not in name:
            scale = weight.abs().amax(1, keepdim=True) / 127
            stored[name] = (weight / scale).round().to(torch.int8)
            stored[f"{name.removesuffix('.weight')}.weight_scale"] = scale
        else:
            stored[name] = weight
    to.mkdir()
    save_file(stored, to / "model.safetensors")
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (to / file).write_text((folder / file).read_text())
    return to


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_hidden_states_are_those_of_transformers(folder, keep):
    encoded = load_text_encoder(folder, keep=keep).encode(TEXTS)
    for text, row, mask in zip(TEXTS, encoded.embeds, encoded.mask, strict=True):
        torch.testing.assert_close(row[mask], oracle(folder, text), atol=2e-6, rtol=0)


def test_padded_prompts_attend_to_real_tokens_alone(folder):
    encoder = load_text_encoder(folder)
    short, padded = encoder.encode(["cats"]), encoder.encode(["cats"], pad_to=12)
    assert padded.embeds.shape[1] == 12
    torch.testing.assert_close(padded.embeds[padded.mask], short.embeds[short.mask], atol=2e-6, rtol=0)


def test_int8_rows_equal_the_same_numbers_in_float(folder, tmp_path):
    small = as_int8(folder, tmp_path / "int8")
    weights = load_file(small / "model.safetensors")
    dense = {
        name: weight.float() * weights[f"{name.removesuffix('.weight')}.weight_scale"]
        if weight.dtype == torch.int8
        else weight
        for name, weight in weights.items()
        if not name.endswith("weight_scale")
    }
    save_file(dense, tmp_path / "model.safetensors")
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_text((folder / file).read_text())
    ours, theirs = load_text_encoder(small).encode(TEXTS), load_text_encoder(tmp_path).encode(TEXTS)
    assert torch.equal(ours.embeds, theirs.embeds)


def test_int8_without_its_scale_is_refused(folder, tmp_path):
    small = as_int8(folder, tmp_path / "int8")
    weights = load_file(small / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight_scale"]
    save_file(weights, small / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors: 'encoder.layer.1.output.dense.weight'"):
        load_text_encoder(small)


def test_a_long_prompt_is_cut_at_the_learned_positions(folder):
    encoder = load_text_encoder(folder)
    with pytest.warns(UserWarning, match="24 tokens"):
        encoded = encoder.encode(["cat " * 100])
    assert encoded.mask.sum() == 24
    torch.testing.assert_close(encoded.embeds[0], oracle(folder, "cat " * 22), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("hidden_size", 50, "no multiple of num_attention_heads"),
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000"),
        ("position_embedding_type", "relative_key", "position_embedding_type"),
        ("hidden_act", "mish", "hidden_act is 'mish'"),
        ("num_hidden_layers", 4, "lacks 16 of its encoder's weights"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(folder, tmp_path, setting, value, says):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | {setting: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=says):
        load_text_encoder(tmp_path)


def test_another_encoder_is_read_through_transformers(tmp_path):
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=len(WORDS), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=24
    )
    model = transformers.DistilBertModel(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})
    tokenizer.save_pretrained(tmp_path)
    encoded = load_text_encoder(tmp_path).encode(TEXTS[:2])
    with torch.no_grad():
        expected = model(**tokenizer(TEXTS[0], return_tensors="pt")).last_hidden_state[0]
    torch.testing.assert_close(encoded.embeds[0][encoded.mask[0]], expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("kind", "weight"),
    [("bert", "encoder.layer.1.output.dense.weight"), ("distilbert", "transformer.layer.1.ffn.lin1.weight")],
)
def test_weights_that_are_no_numbers_are_named(folder, tmp_path, kind, weight):
    if kind == "bert":
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    else:
        config = transformers.DistilBertConfig(vocab_size=len(WORDS), dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        transformers.DistilBertModel(config).save_pretrained(tmp_path)
        transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights[weight] = weights[weight].clone()
    weights[weight][0, 0] = torch.nan
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"{tmp_path.name}.*: '{weight}' holds NaN or infinite numbers; get the file"):
        load_text_encoder(tmp_path).encode(["cats"])


def test_a_kind_that_nobody_knows_is_one_line(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "martian"}))
    with pytest.raises(ValueError, match=r"'martian'.*cannot be read by transformers"):
        load_text_encoder(tmp_path)


def test_folders_of_both_kinds_are_listed(folder):
    assert folder in set(find_text_encoders(folder.parent))


def test_inspection_says_what_it_is(folder, tmp_path):
    about = inspect_checkpoint(as_int8(folder, tmp_path / "int8"))
    assert about["kind"] == "BERT text encoder"
    assert set(about["formats"]) == {"I8", "F32"}
