"""Does each kind of T5 file give what transformers gives in fp32, and does a bad file say what is wrong with it?"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_files import is_matrix, make_folder, make_tokenizer, plain, quantise, scaled_fp8, weights_of, write_gguf
from transformers import T5EncoderModel

from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5_weights import WeightsInMemory, WeightsOnDisk

MINI = Path(__file__).parents[1] / "tiny_t5"
PROMPTS = ["a red cube", "two blue rings and a sphere", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("t5"), width=256)


def masked_encodings(peer):
    """A transformers T5's encodings of PROMPTS, 77 tokens each under the attention mask."""
    tokenizer = make_tokenizer()
    tokenizer.enable_padding(length=77)
    coded = tokenizer.encode_batch(PROMPTS)
    ids, mask = torch.tensor([c.ids for c in coded]), torch.tensor([c.attention_mask for c in coded])
    with torch.no_grad():
        return peer(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.fixture(scope="module")
def expected(folder):
    """transformers' own in fp32."""
    return masked_encodings(T5EncoderModel.from_pretrained(folder, local_files_only=True).eval())


def encoded(path, **options):
    return load_text_encoder(path, **options).encode(PROMPTS, pad_to=77).embeds


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=-1).min()


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_fp32_agrees_to_1e_5(folder, expected, keep):
    torch.testing.assert_close(encoded(folder, keep=keep), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_agrees_bit_by_bit_on_a_cpu(tmp_path, feed_forward):
    """The shipped U-Nets learned on encodings that transformers made: ours must not differ in the last bit."""
    folder = make_folder(tmp_path, feed_forward=feed_forward)
    encoder = load_text_encoder(folder)
    peer = T5EncoderModel.from_pretrained(folder, local_files_only=True).eval()
    ids = torch.tensor([encoder._token_ids("two blue rings " * 20, 99)])
    with torch.no_grad():
        theirs = peer(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    ours = encoder.network([(ids, torch.ones_like(ids).bool())])[0]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    if peer.config._attn_implementation == "sdpa":  # older transformers have only their own attention for T5
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("keep_wo", [False, True])
def test_half_precision_file(folder, expected, tmp_path, dtype, keep_wo):
    file = plain(folder, tmp_path / "t5_half.safetensors", dtype, keep_wo=keep_wo)
    found = encoded(file, tokenizer=folder)
    if dtype == torch.float16:
        torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)
    assert cosine(found, expected) > 0.9999


def peer_with(folder, change):
    """transformers' fp32 encodings of PROMPTS by the weights that `change` gives: what a format's rounding leaves."""
    peer = T5EncoderModel.from_pretrained(folder, local_files_only=True).eval()
    missing, _ = peer.load_state_dict(
        {name: change(name, value) for name, value in weights_of(folder).items()}, strict=False
    )
    assert not [name for name in missing if "embed_tokens" not in name]
    return masked_encodings(peer)


def test_fp8_file(folder, expected, tmp_path):
    """Exactly the file's own numbers; what fp8 without scales loses (3 bits of mantissa) is the file's, not ours."""
    file = plain(folder, tmp_path / "t5xxl_fp8_e4m3fn.safetensors", torch.float8_e4m3fn)
    found = encoded(file, tokenizer=folder)
    exact = peer_with(folder, lambda name, value: value.to(torch.float8_e4m3fn).float())
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=1e-4)
    assert cosine(found, expected) > 0.995


@pytest.mark.parametrize(
    ("suffix", "rows"), [(".scale_weight", False), (".weight_scale", False), (".weight_scale", True)]
)
def test_scaled_fp8_file(folder, expected, tmp_path, suffix, rows):
    file = scaled_fp8(folder, tmp_path / "t5xxl_fp8_scaled.safetensors", suffix=suffix, rows=rows)

    def rounded(name, value):
        if not is_matrix(name, value):
            return value
        scale = (value.abs().amax(1, keepdim=True) if rows else value.abs().max()) / 448
        return (value / scale).to(torch.float8_e4m3fn).float() * scale

    found = encoded(file, tokenizer=folder)
    torch.testing.assert_close(found, peer_with(folder, rounded), atol=1e-4, rtol=1e-4)
    assert cosine(found, expected) > 0.998


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("Q8_0", 0.999),
        ("Q5_K", 0.99),
        ("Q5_0", 0.99),
        ("Q4_K", 0.98),
        ("Q4_0", 0.98),
        ("F16", 0.9999),
        ("BF16", 0.9999),
    ],
)
def test_gguf_file(folder, expected, tmp_path, kind, least):
    found = encoded(write_gguf(folder, tmp_path / f"t5-{kind}.gguf", kind), tokenizer=folder)

    def rounded(name, value):
        if is_matrix(name, value):
            quantised = quantise(value.numpy(), kind)
            return torch.from_numpy(gguf.dequantize(quantised, gguf.GGMLQuantizationType[kind]))
        return value.half().float() if value.ndim == 2 else value

    torch.testing.assert_close(found, peer_with(folder, rounded), atol=1e-4, rtol=1e-4)
    assert cosine(found, expected) >= least


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "Q4_1", "IQ4_NL"])
def test_blocks_become_what_the_gguf_package_makes_of_them(kind, monkeypatch):
    """Of random bits, so that every bit counts; in several pieces; also the formats that the package alone reads."""
    from imagen_core.text import gguf_blocks

    quantisation = gguf.GGMLQuantizationType[kind]
    weights, size = gguf.GGML_QUANT_SIZES[quantisation]
    raw = np.random.default_rng(0).integers(0, 256, (24, 2 * size), np.uint8)
    scales = {"Q6_K": [208, 209], "Q4_K": [0, 1, 2, 3], "Q5_K": [0, 1, 2, 3], "Q4_1": [0, 1, 2, 3]}.get(kind, [0, 1])
    for block in (0, size):  # float16 scales that are numbers
        raw[:, [block + at for at in scales]] = np.frombuffer(
            np.float16([0.5, -0.25]).tobytes()[: len(scales)], np.uint8
        )
    expected = torch.from_numpy(gguf.dequantize(raw, quantisation))
    monkeypatch.setattr(gguf_blocks, "AT_ONCE", 5 * weights)
    found = gguf_blocks.dequantise(torch.from_numpy(raw), int(quantisation), torch.float32)
    assert found.shape == (24, 2 * weights) and expected.abs().max() > 1
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-6)


@pytest.mark.parametrize(("kind", "least"), [("fp8", 0.999), ("Q8_0", 0.999), ("Q5_0", 0.995), ("Q4_0", 0.99)])
def test_trained_encoder_keeps_its_meaning(tmp_path, kind, least):
    """imagen-mini's own, a trained T5: quantised, every token of a prompt points where it did."""
    prompts = ["a red sphere to the left of a blue cube", "a tiny metal ring above a large purple heart at sunset", ""]
    write = scaled_fp8 if kind == "fp8" else write_gguf
    file = write(
        MINI, tmp_path / ("t5.safetensors" if kind == "fp8" else "t5.gguf"), *([] if kind == "fp8" else [kind])
    )
    exact = load_text_encoder(MINI).encode(prompts)
    found = load_text_encoder(file, tokenizer=MINI).encode(prompts)
    assert cosine(found.embeds[exact.mask], exact.embeds[exact.mask]) >= least


def test_gguf_with_the_names_of_transformers(folder, tmp_path):
    llama = encoded(write_gguf(folder, tmp_path / "a.gguf", "Q8_0"), tokenizer=folder)
    names = write_gguf(folder, tmp_path / "b.gguf", "Q8_0", names="transformers", architecture="t5")
    assert torch.equal(encoded(names, tokenizer=folder), llama)


def test_gguf_of_a_t5_without_gates(tmp_path):
    folder = make_folder(tmp_path, width=256, feed_forward="relu")
    found = encoded(write_gguf(folder, tmp_path / "old.gguf", "Q8_0"), tokenizer=folder)
    assert cosine(found, encoded(folder)) >= 0.999


def test_weights_of_a_whole_checkpoint_are_found_behind_their_prefix(folder, expected, tmp_path):
    weights = {f"text_encoders.t5xxl.transformer.{name}": value for name, value in weights_of(folder).items()}
    save_file(weights | {"model.other": torch.zeros(3)}, tmp_path / "sd3.safetensors")
    torch.testing.assert_close(encoded(tmp_path / "sd3.safetensors", tokenizer=folder), expected, atol=1e-5, rtol=1e-5)


def test_weights_stay_as_stored(folder, tmp_path):
    """In memory an fp8 encoder takes a quarter of its fp32 size; on the disk it takes nothing between prompts."""
    file = plain(folder, tmp_path / "t5_fp8.safetensors", torch.float8_e4m3fn)
    encoder = load_text_encoder(file, tokenizer=folder, keep="memory")
    assert isinstance(encoder.network.weights, WeightsInMemory) and encoder.network.weights.nbytes == 0
    encoder.encode(["a red cube"])
    whole = sum(value.numel() for value in weights_of(folder).values())
    assert 0.9 * whole < encoder.network.weights.nbytes <= whole
    encoder.network.weights.clear()
    assert encoder.network.weights.nbytes == 0
    assert isinstance(load_text_encoder(file, tokenizer=folder, keep="disk").network.weights, WeightsOnDisk)
    with pytest.raises(ValueError, match="keep is 'gpu'"):
        load_text_encoder(file, tokenizer=folder, keep="gpu")


def test_float16_arithmetic_survives_what_overflows_it(tmp_path):
    """T5's feed-forward sums exceed 65504: `wo` and the residual must not be float16."""
    folder = make_folder(tmp_path, width=32)
    weights = weights_of(folder)
    for name in weights:
        if ".wi_" in name:
            weights[name] *= 60
        if ".wo." in name:
            weights[name] *= 40
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    exact = load_text_encoder(folder).encode(["a red cube"]).embeds
    half = load_text_encoder(folder, dtype=torch.float16)
    rows = half.network.weights["encoder.block.0.layer.1.DenseReluDense.wo.weight"].dense(half.device, torch.float32)
    assert torch.isfinite(half.encode(["a red cube"]).embeds).all() and rows.abs().max() > 1
    assert cosine(half.encode(["a red cube"]).embeds, exact) > 0.999


# --- folders


def copied(folder, target):
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def published(folder, root, *, variant=None):
    """As DeepFloyd IF's folders are: text_encoder/ in shards, tokenizer/ beside it."""
    encoder = copied(folder, root / "text_encoder")
    (root / "tokenizer").mkdir()
    (encoder / "tokenizer.json").rename(root / "tokenizer" / "tokenizer.json")
    (encoder / "model.safetensors").unlink()
    model = T5EncoderModel.from_pretrained(folder, local_files_only=True)
    if variant:  # the hub's fp16 files keep wo in fp32
        model = model.half()
        for block in model.encoder.block:
            block.layer[1].DenseReluDense.wo.float()
    model.save_pretrained(encoder, max_shard_size="700KB", variant=variant)
    assert len(list(encoder.glob("model*-of-*.safetensors"))) > 1
    return encoder


def test_published_folder_in_shards(folder, expected, tmp_path):
    torch.testing.assert_close(encoded(published(folder, tmp_path)), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded(tmp_path), expected, atol=1e-5, rtol=1e-5)  # the pipeline's folder will do


@pytest.mark.parametrize("older_index", [False, True])
def test_published_folder_of_the_fp16_variant(folder, expected, tmp_path, older_index):
    encoder = published(folder, tmp_path, variant="fp16")
    (index,) = encoder.glob("*index*.json")
    if older_index:  # how diffusers 0.16 called it, as in the published IF folders
        index.rename(encoder / "model.safetensors.index.fp16.json")
    (encoder / "model.8bit.safetensors").write_bytes(b"bitsandbytes")  # lies beside them there; is not read
    kinds = {value.dtype for file in encoder.glob("model.fp16*.safetensors") for value in load_file(file).values()}
    assert kinds == {torch.float16, torch.float32}
    torch.testing.assert_close(encoded(encoder), expected, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(encoded(encoder, variant="fp16"), expected, atol=1e-2, rtol=1e-2)
    with pytest.raises(FileNotFoundError, match=r"model\.bf16\.safetensors"):
        load_text_encoder(encoder, variant="bf16")


@pytest.mark.parametrize("with_index", [True, False])
def test_missing_shard_is_named(folder, tmp_path, with_index):
    encoder = published(folder, tmp_path)
    shards = sorted(encoder.glob("model-*-of-*.safetensors"))
    shards[-1].unlink()
    if not with_index:
        next(encoder.glob("*index*.json")).unlink()
    with pytest.raises(ValueError, match=f"lacks 1 of {len(shards)} files.*{shards[-1].name}"):
        load_text_encoder(encoder)


# --- tokenizers


def test_tokenizer_beside_a_single_file(folder, expected, tmp_path):
    file = tmp_path / "t5.safetensors"
    file.write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no tokenizer: put the spiece.model.*t5-v1_1-xxl"):
        load_text_encoder(file)
    (tmp_path / "elsewhere").mkdir()
    make_tokenizer().save(str(tmp_path / "elsewhere" / "tokenizer.json"))
    torch.testing.assert_close(encoded(file, tokenizer_places=[tmp_path / "elsewhere"]), expected, atol=1e-5, rtol=1e-5)
    make_tokenizer().save(str(tmp_path / "t5.tokenizer.json"))
    torch.testing.assert_close(encoded(file), expected, atol=1e-5, rtol=1e-5)


def test_tokenizer_of_another_model_is_passed_over(folder, tmp_path):
    file = tmp_path / "t5.safetensors"
    file.write_bytes((folder / "model.safetensors").read_bytes())
    other = json.loads(make_tokenizer().to_str())
    other["model"]["vocab"] = other["model"]["vocab"][:30]
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(FileNotFoundError, match="no tokenizer"):
        load_text_encoder(file)
    other["model"]["vocab"] = make_tokenizer_vocabulary(100)
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="100 tokens and the text encoder 64"):
        load_text_encoder(file, tokenizer=tmp_path)


def make_tokenizer_vocabulary(size):
    return [[f"w{i}", -1.0] for i in range(size)]


def sentencepiece_parts(path):
    """Pieces, scores, kinds and the normaliser's table of a spiece.model, as llama.cpp copies them into a .gguf."""
    sentencepiece = pytest.importorskip("sentencepiece")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(processor.vocab_size())
    kinds = [2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 1 for i in ids]
    charsmap = dict(_fields(dict(_fields(processor.serialized_model_proto()))[3])).get(2, b"")
    return {
        "model": "t5",
        "tokens": [processor.id_to_piece(i) for i in ids],
        "scores": [processor.get_score(i) for i in ids],
        "token_type": kinds,
        "precompiled_charsmap": charsmap,
    }, processor


def _fields(message: bytes):
    """Number and value of each field of a protobuf message."""

    def varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 128:
                return value, at

    at = 0
    while at < len(message):
        tag, at = varint(at)
        if tag & 7 == 0:
            value, at = varint(at)
        elif tag & 7 == 5:
            value, at = message[at : at + 4], at + 4
        else:
            length, at = varint(at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def test_vocabulary_inside_a_gguf_reads_as_sentencepiece_does(folder, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a red cube\ntwo blue rings and a sphere, 3 of them\nÜber ﬁne Straßen\n" * 20)
    settings = {
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "vocab_size": 62,
        "hard_vocab_limit": False,
        "num_threads": 1,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "spiece"), minloglevel=2, **settings
    )
    parts, processor = sentencepiece_parts(tmp_path / "spiece.model")
    (tmp_path / "apart").mkdir()
    file = write_gguf(folder, tmp_path / "apart" / "t5.gguf", "Q8_0", vocabulary=parts)
    encoder = load_text_encoder(file)
    texts = [
        "a red cube",
        "  two   blue rings ",
        "Über ﬁne Straßen",
        "🦊 a cube",
        "< /s> red <pads>",  # marks themselves: test_text_forms
        "a\tb\nc",
        "",
        "3 of",
    ]
    for text in texts:
        assert encoder.tokenizer.ids(text) == processor.encode(text), text
    assert encoder.tokenizer.text(encoder.tokenizer.ids("two blue rings")) == "two blue rings"
    parts["scores"] = parts["scores"][:5]
    with pytest.raises(ValueError, match=r"bad.gguf: its vocabulary has no score"):
        load_text_encoder(write_gguf(folder, tmp_path / "apart" / "bad.gguf", "Q8_0", vocabulary=parts))


# --- bad files


def test_gguf_needs_its_package(folder, tmp_path, monkeypatch):
    file = write_gguf(folder, tmp_path / "t5.gguf", "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"needs the gguf package: pip install '\.\[gguf\]'"):
        load_text_encoder(file, tokenizer=folder)


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.005, 0.5, 0.99999])
def test_truncated_gguf(folder, tmp_path, share):
    file = write_gguf(folder, tmp_path / "t5.gguf", "Q8_0")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"t5\.gguf.*(truncated|no \.gguf)"):
        load_text_encoder(file, tokenizer=folder)


def test_gguf_with_a_damaged_header(folder, tmp_path):
    """Any byte of the header changed: a clear error, or a file that still loads; never another exception."""
    file = write_gguf(folder, tmp_path / "t5.gguf", "Q8_0")
    content = bytearray(file.read_bytes())
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = content.copy()
        damaged[int(random.integers(0, 1500))] ^= int(random.integers(1, 256))
        file.write_bytes(damaged)
        try:
            load_text_encoder(file, tokenizer=folder)
        except (ValueError, FileNotFoundError) as error:
            refused += 1
            assert "t5.gguf" in str(error)
    assert refused > 10


def test_gguf_of_another_architecture(folder, tmp_path):
    file = write_gguf(folder, tmp_path / "llama.gguf", "Q8_0", architecture="llama")
    with pytest.raises(ValueError, match=r"llama\.gguf holds a 'llama' model.*T5"):
        load_text_encoder(file, tokenizer=folder)
    writer = gguf.GGUFWriter(str(tmp_path / "other.gguf"), "t5encoder")
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"other\.gguf is a language model"):
        load_text_encoder(tmp_path / "other.gguf", tokenizer=folder)


def test_no_gguf_at_all(folder, tmp_path):
    (tmp_path / "t5.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60))
    with pytest.raises(ValueError, match=r"t5\.gguf"):
        load_text_encoder(tmp_path / "t5.gguf", tokenizer=folder)
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.gguf"):
        load_text_encoder(tmp_path / "empty.gguf", tokenizer=folder)


def test_scaled_fp8_file_without_one_scale(folder, tmp_path):
    name = next(name for name, value in weights_of(folder).items() if is_matrix(name, value))
    file = scaled_fp8(folder, tmp_path / "scaled.safetensors", skip=name)
    with pytest.raises(ValueError, match=f"scaled.safetensors.*{name}.*has no scale"):
        load_text_encoder(file, tokenizer=folder)


def test_scales_of_another_shape(folder, tmp_path):
    file = scaled_fp8(folder, tmp_path / "scaled.safetensors", rows=True)
    weights = load_file(file)
    name = next(name for name in weights if name.endswith(".scale_weight"))
    save_file(weights | {name: torch.ones(3)}, file)
    with pytest.raises(ValueError, match=f"{name}.*one number or one a row"):
        load_text_encoder(file, tokenizer=folder)


def test_bitsandbytes_file(folder, tmp_path):
    weights = {
        name: value.to(torch.int8) if is_matrix(name, value) else value for name, value in weights_of(folder).items()
    }
    save_file(weights, tmp_path / "model.8bit.safetensors")
    with pytest.raises(ValueError, match="8bit.*I8 numbers.*fp16 or fp8"):
        load_text_encoder(tmp_path / "model.8bit.safetensors", tokenizer=folder)


def test_umt5_is_no_t5(folder, tmp_path):
    weights = weights_of(folder)
    bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    weights[bias.format(1)] = weights[bias.format(0)].clone()
    save_file(weights, tmp_path / "umt5.safetensors")
    with pytest.raises(ValueError, match="umT5"):
        load_text_encoder(tmp_path / "umt5.safetensors", tokenizer=folder)


def test_missing_block_and_other_shape(folder, tmp_path):
    weights = weights_of(folder)
    name = "encoder.block.0.layer.1.DenseReluDense.wi_1.weight"
    save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match=f"less.*lacks 1 .*{name}"):
        load_text_encoder(tmp_path / "less.safetensors", tokenizer=folder)
    save_file(weights | {name: torch.zeros(3, 3)}, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match=rf"odd.*{name}.*shape \(3, 3\)"):
        load_text_encoder(tmp_path / "odd.safetensors", tokenizer=folder)


def test_file_that_vanishes_between_prompts(folder, tmp_path):
    file = plain(folder, tmp_path / "t5.safetensors", torch.float16)
    encoder = load_text_encoder(file, tokenizer=folder, keep="disk")
    encoder.encode(["a"])
    file.unlink()
    with pytest.raises(ValueError, match=r"t5\.safetensors"):
        encoder.encode(["a red cube"])
