"""Do all of T5's tokenizers give the same ids, marks typed as text included, and are forms that are not read named?"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_files import is_matrix, make_folder
from test_text_files import sentencepiece_parts
from tokenizers import AddedToken, Tokenizer, models

from imagen_core import find_text_encoders, load_text_encoder
from imagen_core.text import tokenizer as tokenizers_file
from imagen_core.text.tokenizer import _FastTokenizer, _ids_between_marks, _SentencePieceTokenizer, _unigram

TYPED = [
    "a red cube",
    "</s>",
    "a</s> red",
    " </s> cube",
    "<pad> a <pad>",
    "<unk> red",
    "a <extra_id_0> cube <extra_id_1>",
    "<extra_id_999> </S> <\u200b/s>",
    "  a \t red\n\ncube  ",
    "\u00a0a\u3000red\u2028cube",
    "\u2581a \u2581",
    "é e\u0301 ﬁ Ａ 🦊 كرة",
    "",
    " ",
]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A trained spiece.model, and its vocabulary."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "corpus.txt").write_text("a red cube\ntwo blue rings and a sphere\n" * 20)
    settings = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 40, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "spiece"), minloglevel=2, **settings
    )
    return folder / "spiece.model", sentencepiece_parts(folder / "spiece.model")[0]


def test_marks_typed_as_text_are_marks_in_every_tokenizer(pieces, monkeypatch):
    model, parts = pieces
    count = len(parts["tokens"])
    names = [*parts["tokens"], *(f"<extra_id_{99 - i}>" for i in range(100))]  # T5's, counted down behind the pieces
    scores, kinds = [*parts["scores"], *[0.0] * 100], [*parts["token_type"], *[4] * 100]
    marks = {piece: i for i, piece in enumerate(names) if tokenizers_file._MARK.fullmatch(piece)}
    gguf = _FastTokenizer(_unigram(names, scores, kinds, 2, parts["precompiled_charsmap"]), marks)
    plain = Tokenizer(models.Unigram(list(zip(names, scores, strict=True)), unk_id=2))
    built = gguf._tokenizer
    plain.normalizer, plain.pre_tokenizer = built.normalizer, built.pre_tokenizer
    plain.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    from_json = _FastTokenizer(Tokenizer.from_str(plain.to_str()))  # what transformers writes: marks are added tokens
    monkeypatch.setattr(tokenizers_file, "T5_PIECES", count)
    spiece = _SentencePieceTokenizer(model)
    for text in TYPED:
        assert from_json.ids(text) == gguf.ids(text) == spiece.ids(text), text
    assert spiece.ids("</s>") == [1] and spiece.ids("a <extra_id_0>")[-1] == count + 99
    assert "red" in spiece.text(spiece.ids("<extra_id_0> a red cube"))


def test_a_vocabulary_without_a_mark_reads_it_as_text():
    assert _ids_between_marks("a</s>b", lambda text: [len(text)], {}.get) == [6]
    assert _ids_between_marks("a</s>b", lambda text: [len(text)], {"</s>": 1}.get) == [1, 1, 1]


def quantised(folder, file, note, dtype=torch.float8_e4m3fn, largest=448, in_header=False):
    kept, layers = {}, {}
    for name, value in load_file(folder / "model.safetensors").items():
        if is_matrix(name, value):
            scale = value.abs().max() / largest
            layer = name.removesuffix(".weight")
            kept[f"{layer}.weight_scale"] = scale
            layers[layer] = note
            if not in_header:
                kept[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(note).encode()), dtype=torch.uint8)
            value = value / scale
            value = (value.round() if dtype == torch.int8 else value).to(dtype)
        kept[name] = value.clone()
    header = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
    save_file(kept, file, header if in_header else None)
    return file


@pytest.mark.parametrize("in_header", [False, True])
def test_comfyuis_plain_forms_are_read_and_the_others_named(tmp_path, in_header):
    folder = make_folder(tmp_path / "t5")
    exact = load_text_encoder(folder).encode(["a red cube"]).embeds
    for note, dtype, largest in (
        ({"format": "float8_e4m3fn"}, torch.float8_e4m3fn, 448),
        ({"format": "int8_tensorwise"}, torch.int8, 127),
    ):
        file = quantised(folder, tmp_path / "read.safetensors", note, dtype, largest, in_header)
        found = load_text_encoder(file, tokenizer=folder).encode(["a red cube"]).embeds
        assert torch.nn.functional.cosine_similarity(found, exact, dim=-1).min() > 0.99
        assert file in find_text_encoders(tmp_path)
        file.unlink()
    for note in (
        {"format": "nvfp4"},
        {"format": "mxfp8"},
        {"format": "int8_tensorwise", "convrot": True},
        {"format": 3},
    ):
        file = quantised(folder, tmp_path / "t5 unread.safetensors", note, in_header=in_header)
        with pytest.raises(
            ValueError, match=f"t5 unread.safetensors holds ComfyUI's {note['format']}.*not read here: get"
        ):
            load_text_encoder(file, tokenizer=folder)
        assert file not in find_text_encoders(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"layers": []}', '{"layers": {"a": 3}}'])
def test_a_note_in_the_header_that_says_nothing_is_named(tmp_path, text):
    folder = make_folder(tmp_path / "t5")
    weights = load_file(folder / "model.safetensors")
    save_file(weights, tmp_path / "odd.safetensors", {"_quantization_metadata": text})
    with pytest.raises(
        ValueError, match=r"odd.safetensors( holds ComfyUI's unknown numbers|: _quantization_metadata is)"
    ):
        load_text_encoder(tmp_path / "odd.safetensors", tokenizer=folder)
    assert list(find_text_encoders(tmp_path)) == [folder]


@pytest.mark.parametrize(
    ("ending", "word"),
    [("qweight", "nunchaku"), ("SCB", "bitsandbytes' 8-bit"), ("weight.absmax", "bitsandbytes' 4-bit")],
)
def test_packed_files_are_named_and_not_listed(tmp_path, ending, word):
    folder = make_folder(tmp_path / "t5")
    weights = load_file(folder / "model.safetensors")
    key = f"encoder.block.0.layer.0.SelfAttention.q.{ending}"
    save_file(weights | {key: torch.zeros(3, dtype=torch.uint8)}, tmp_path / "packed.safetensors")
    with pytest.raises(ValueError, match=f"packed.safetensors holds .*{word}"):
        load_text_encoder(tmp_path / "packed.safetensors", tokenizer=folder)
    assert list(find_text_encoders(tmp_path)) == [folder]
