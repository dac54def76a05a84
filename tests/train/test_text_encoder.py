"""Does the text encoder tokenise everything, learn, and ship in a form that loads back equal?"""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from imagen_core.text.loading import load_text_encoder
from imagen_train.options import TrainOptions
from imagen_train.scenes import sample_captions
from imagen_train.text_data import corrupt_spans, pad, text_pool
from imagen_train.text_encoder import TextModel, TextModelConfig, export_encoder, train_text_encoder
from imagen_train.text_probe import GATE_LABELS, Reading, judge_probe, train_probe
from imagen_train.tokenizer import (
    EOS,
    FIRST_SENTINEL,
    PAD,
    SENTINELS,
    UNK,
    build_tokenizer,
    encode_all,
    pieces,
    save_tokenizer,
)

TINY = TextModelConfig(d_model=32, layers=2, heads=4, d_kv=8, d_ff=32, captions=400)


def test_captions_are_short_and_fully_known():
    captions = sample_captions(500, seed=5).captions
    rows = encode_all(captions)
    assert sum(map(len, rows)) / len(rows) < 14
    assert not any(UNK in row for row in rows)
    assert all(row[-1] == EOS for row in rows)


def test_ids_that_the_world_relies_on():
    tokenizer = build_tokenizer()
    names = ("<pad>", "</s>", "<unk>", "<extra_id_0>")
    assert [tokenizer.token_to_id(name) for name in names] == [PAD, EOS, UNK, FIRST_SENTINEL]
    assert tokenizer.get_vocab_size() == len(pieces()) == len({piece for piece, _ in pieces()})


def test_words_are_whole_and_sign_words_are_spelled():
    tokens = build_tokenizer().encode('A sign that says "KING"').tokens
    assert tokens == ["▁A", "▁sign", "▁that", "▁says", '▁"', "K", "I", "N", "G", '"', "</s>"]


@pytest.mark.parametrize("text", ["", "  ", "Émile 😀 漢字", "a\x00b", "½ ﬁ ‮", "</s> <pad>", "x" * 999, "\ud800"])
def test_any_text_tokenises(text):
    readable = text.encode("utf-8", "replace").decode()
    ids = build_tokenizer().encode(readable).ids
    assert ids[-1] == EOS and max(ids) < len(pieces())


def test_span_corruption_loses_nothing():
    ids = pad(encode_all(sample_captions(64, seed=1).captions))
    source, target = corrupt_spans(ids, torch.Generator().manual_seed(0))
    taken = 0
    for row, short, spans in zip(ids.tolist(), source.tolist(), target.tolist(), strict=True):
        assert _rebuilt(short, spans) == [t for t in row if t not in (PAD, EOS)]
        assert [t for t in spans if t != PAD][-1] == EOS
        taken += sum(t >= FIRST_SENTINEL + SENTINELS for t in spans)
    assert 0.2 < taken / (ids >= FIRST_SENTINEL).sum().item() < 0.4


def _rebuilt(source: list[int], target: list[int]) -> list[int]:
    spans: dict[int, list[int]] = {}
    for token in target:
        if FIRST_SENTINEL <= token < FIRST_SENTINEL + SENTINELS:
            spans[token] = current = []
        elif token not in (PAD, EOS):
            current.append(token)
    return [t for token in source if token not in (PAD, EOS) for t in spans.get(token, [token])]


def test_a_pool_is_sorted_and_draws_neighbours():
    pool = text_pool(200, seed=2)
    lengths = (pool.captions != PAD).sum(1)
    assert (lengths.diff() >= 0).all()
    captions, parses = pool.draw(32, torch.Generator().manual_seed(3))
    assert captions.shape[0] == parses.shape[0] == 32
    assert (captions[:, -1] != PAD).any() and (parses[:, -1] != PAD).any()


def test_the_exported_encoder_is_the_trained_one(tmp_path):
    torch.manual_seed(0)
    model = TextModel(TINY).eval()
    encoder = load_text_encoder(export_encoder(model, TINY, tmp_path))
    encoded = encoder.encode(["a red ball", "a blue cube to the left of a cone"])
    expected = model.encode(torch.tensor(encode_all(["a red ball"])))
    assert torch.allclose(encoded.embeds[:1, : expected.shape[1]], expected, atol=1e-5)
    assert encoded.mask.sum(1).tolist() == [4, 10]
    assert json.loads((tmp_path / "config.json").read_text())["d_model"] == TINY.d_model


def test_transformers_reads_the_tokenizer(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    export_encoder(TextModel(TINY), TINY, tmp_path)
    save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert tokenizer(["a red ball"])["input_ids"] == encode_all(["a red ball"])
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)


def test_training_runs_exports_and_lowers_the_loss(tmp_path):
    options = TrainOptions(state_dir=tmp_path, cache_dir=tmp_path, models_dir=tmp_path, max_steps=40, batch_size=32)
    figures = train_text_encoder(options, config=dataclasses.replace(TINY, probe_captions=300))
    assert figures["steps"] == 40 and set(figures["probe"]) >= set(GATE_LABELS)
    assert (tmp_path / "text_encoder" / "model.safetensors").exists()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows if "loss" in row][-1] < 5.9  # log(371): what knowing nothing costs


def test_the_probe_reads_what_is_there_and_only_that():
    """Tokens that carry (which thing, which value) are read; tokens that carry the value alone are not."""
    batch = sample_captions(1500, seed=4)
    pair = batch.stated["color_1"] & batch.stated["color_2"]
    tables = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0)) * 3
    bound = torch.stack([tables[i][batch.labels[f"color_{i + 1}"].clamp_min(0)] for i in range(2)], 1)
    unbound = torch.stack([tables[0][batch.labels[f"color_{i + 1}"].clamp_min(0)] for i in range(2)], 1)
    accuracy = []
    for embeds in (bound, unbound):
        mask = torch.ones(len(batch), 2, dtype=torch.bool)
        targets = {name: batch.labels[name].where(batch.stated[name], -1) for name in batch.labels}
        targets |= {f"color_{i}": targets[f"color_{i}"].where(pair, -1) for i in (1, 2)}
        reading = Reading(embeds=embeds, mask=mask, targets=targets)
        figures = judge_probe(train_probe(reading, steps=150), reading)
        accuracy.append((figures["pair_color_1"]["accuracy"] + figures["pair_color_2"]["accuracy"]) / 2)
    assert accuracy[0] > 0.95 and accuracy[1] < 0.8
