"""Does an encoder without other scripts' tokens read English as it did, to the bit, and is the shipped one such?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagen_core import load_text_encoder
from imagen_train.options import default_models_dir
from imagen_train.stickers.vocabulary import TABLE, is_english, kept_rows, with_rows, with_table

transformers = pytest.importorskip("transformers")
MARKS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # BERT's rows between the marks are nobody's
WORDS = ["a", "red", "fox", "##es", "\u0436", "cafe", "3", "\u20ac", "##\u72d0", "!", "\u00e6", "blue"]


def test_letters_of_other_scripts_are_no_english():
    known = {"fox": True, "##ing": True, "\u00f8": True, "3": True, "\u20ac": True, "##!": True, "[unused7]": False}
    known |= {"\u0436": False, "##\u72d0": False, "\u03c0": False, "##\u0941": False}
    assert {token: is_english(token) for token in known} == known


@pytest.fixture
def folder(tmp_path) -> Path:
    path, vocab = tmp_path / "whole", [*MARKS, *WORDS]
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(vocab), **sizes)).save_pretrained(path)
    tokenizer = transformers.BertTokenizerFast(vocab={word: row for row, word in enumerate(vocab)})
    tokenizer.save_pretrained(path)
    return path


def test_english_is_read_to_the_bit_and_other_scripts_as_unknown(folder, tmp_path):
    tokenizer, config = (json.loads((folder / f"{name}.json").read_text()) for name in ("tokenizer", "config"))
    rows, small = kept_rows(tokenizer), tmp_path / "small"
    assert len(rows) == len(MARKS) + len(WORDS) - 3
    small.mkdir()
    (small / "tokenizer.json").write_text(json.dumps(with_rows(tokenizer, rows)))
    (small / "config.json").write_text(json.dumps(config | {"vocab_size": len(rows)}))
    weights = load_file(folder / "model.safetensors")
    save_file(with_table(weights, rows), small / "model.safetensors")
    assert len(with_table(weights, rows)[TABLE]) == len(rows) and len(weights[TABLE]) == len(MARKS) + len(WORDS)
    whole, less = load_text_encoder(folder), load_text_encoder(small)
    texts = ["a red fox!", "", "foxes, a caf\u00e9 of 3 \u20ac", "\u00e6 blue [MASK] [UNK]"]
    for text in texts:
        one, other = whole.encode([text]), less.encode([text])
        assert torch.equal(one.embeds, other.embeds) and torch.equal(one.mask, other.mask), text
    with pytest.warns(UserWarning, match="does not know '\u0436', 'fox\u0436'"):
        unknown = less.encode(["a \u0436 fox\u0436"])
    assert torch.equal(unknown.embeds, less.encode(["a [UNK] [UNK]"]).embeds)


def test_the_shipped_encoder_knows_english_alone():
    vocab = json.loads((default_models_dir() / "things_text_encoder" / "tokenizer.json").read_text())["model"]["vocab"]
    marks = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert len(vocab) > 27_000 and {token for token in vocab if not is_english(token)} <= marks
