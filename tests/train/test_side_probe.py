"""Does the probe of sides find a side that is there, and none that is not?"""

from __future__ import annotations

import pytest
import torch

from imagen_core import load_text_encoder
from imagen_train.options import default_models_dir
from imagen_train.stickers.side_probe import Nouns, nouns_of, sides_read
from imagen_train.stickers.text_probe import _sides

ENCODER = default_models_dir() / "things_text_encoder"


def test_a_side_is_read_where_a_token_says_it():
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(4, (800,), generator=generator)
    tokens = torch.randn(800, 16, generator=generator)
    assert 0.35 < sides_read(Nouns(tokens, side)) < 0.65
    tokens[:, 3] += 6.0 * (side % 2)
    assert sides_read(Nouns(tokens, side)) > 0.95


def test_the_shipped_base_rereads_what_its_encoder_leaves_open():
    encoder = load_text_encoder(ENCODER)
    found = _sides(encoder, default_models_dir() / "things64.safetensors", 384)
    assert found["sides"] < 0.75 and found["sides_reread"] > 0.9
    with pytest.raises(ValueError, match="rereads no prompt"):
        _sides(encoder, default_models_dir() / "sr256.safetensors", 16)


def test_nouns_are_found_in_their_sentences():
    encoder = load_text_encoder(ENCODER)
    nouns = nouns_of(encoder, 256)
    assert nouns.tokens.shape == (512, encoder.embed_dim) and set(nouns.side.tolist()) == {0, 1, 2, 3}
