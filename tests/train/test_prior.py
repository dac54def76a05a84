"""Does a prior learn which embedding a caption's picture has, and is its file a prior for everybody?"""

from __future__ import annotations

import argparse

import pytest
import torch

from imagen_core import Draw, find_priors, load_prior, sample_prior, typed_prompt
from imagen_core.clip.config import ClipConfig, TextConfig, VisionConfig
from imagen_core.clip.model import Clip
from imagen_core.clip.network import ClipNetwork
from imagen_core.image_embeds import image_embeds, read_as_clip
from imagen_core.text.t5 import T5TextEncoder
from imagen_train import cli, prior
from imagen_train.data import KINDS, PictureCache, PictureKind, render_pictures
from imagen_train.prior import PriorTask, Seen, fresh_prior, prior_of, read_ids, save_prior

POSITIONS, EMBED = 24, 16


class Letters:
    """A tokenizer of letters."""

    size, unknown = 30, None

    def ids(self, text):
        return [ord(letter) % 28 for letter in text if letter.isalpha()]

    def id_of(self, piece):
        return None

    def text(self, ids):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def clip():
    """A CLIP of random weights whose texts have at most 24 places, its own two marks included."""
    text = TextConfig(width=32, layers=1, heads=2, mlp=32, vocab_size=30, positions=POSITIONS, end=29)
    vision = VisionConfig(width=32, layers=1, heads=2, mlp=32, side=32, patch=8)
    torch.manual_seed(0)
    network = ClipNetwork(ClipConfig(text=text, vision=vision, text_embed_dim=EMBED, vision_embed_dim=EMBED))
    for weight in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return Clip(network.eval(), Letters())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    kind = PictureKind(name="few", side=32, chunk=16)
    folder = tmp_path_factory.mktemp("cache")
    render_pictures(kind, 16, folder)
    return PictureCache(folder, kind)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(prior, "WIDTH", 64)
    monkeypatch.setattr(prior, "DEPTH", 1)


def test_a_caption_is_read_as_the_clips_text_encoder_reads_it(clip):
    from imagen_core.clip.text_encoder import ClipTextConfig, ClipTextNetwork, pooling_of

    config = ClipTextConfig(
        vocab_size=30, d_model=32, max_positions=POSITIONS, pad_token_id=29, prefix_ids=(clip.start,), eos_token_id=29
    )
    network = ClipTextNetwork(clip.network, config, "clip", "cpu")
    encoder = T5TextEncoder(network, Letters(), max_tokens=POSITIONS, pooling=pooling_of(clip.network))
    wanted = read_as_clip(typed_prompt(encoder, "a red fox"))  # 77 tokens are asked of it, and it has no place for them
    found = read_ids(clip, clip.token_ids(["a red fox"]))
    assert wanted.embeds.shape == (1, POSITIONS, 32) and torch.equal(found.mask, wanted.mask)
    torch.testing.assert_close(found.embeds, wanted.embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.pooled, wanted.pooled, atol=1e-5, rtol=1e-4)


def test_it_learns_and_its_file_draws_the_same(clip, cache, small, tmp_path):
    seen = Seen.of(cache, clip)
    torch.testing.assert_close(seen.embeds, image_embeds(clip, cache.pictures(range(16))))
    network = fresh_prior(clip, seen.embeds)
    task = PriorTask(shown=seen, held_out=seen, clip=clip, batch_size=16)
    with torch.no_grad():
        first = task.loss(network, torch.Generator().manual_seed(0), 0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(30):
        optimizer.zero_grad()
        task.loss(network, torch.Generator().manual_seed(step), 0.0).backward()
        optimizer.step()
    with torch.no_grad():
        assert task.loss(network, torch.Generator().manual_seed(0), 0.0) < 0.7 * first
    assert set(task.preview(network).figures) == {
        "cosine_of_prior", "cosine_of_text", "found_by_prior", "found_by_text", "among",
    }  # fmt: skip
    file = save_prior(network, tmp_path / "prior.safetensors", {})
    assert list(find_priors(tmp_path)) == [file]
    loaded = load_prior(file)
    assert loaded.spec.text.tokens == POSITIONS and loaded.network.config == network.config
    stored = loaded.network.state_dict()
    for name, weight in network.state_dict().items():  # large ones in int8, the rest in float16
        torch.testing.assert_close(stored[name], weight, atol=weight.abs().max().item() / 127, rtol=1e-3, msg=name)
    network.load_state_dict(stored)
    prompt, draw = prior.prompt_of(clip, seen.ids[:2]), Draw(seeds=(3, 4), steps=3)
    torch.testing.assert_close(
        sample_prior(loaded, prompt, draw), sample_prior(prior_of(network), prompt, draw), atol=2e-2, rtol=1e-2
    )


def test_heads_of_another_width_could_not_be_told_from_a_lone_file(clip, cache, small, monkeypatch, tmp_path):
    monkeypatch.setattr(prior, "HEAD", 16)
    network = fresh_prior(clip, torch.randn(4, EMBED))
    with pytest.raises(ValueError, match="4 heads of a prior 64 wide are not 64 wide each"):
        save_prior(network, tmp_path / "prior.safetensors", {})


def test_one_command_makes_it(clip, cache, small, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(KINDS, "few", cache.kind)
    monkeypatch.setattr(prior, "load_clip", lambda path: clip)
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    where = ["--state-dir", str(tmp_path), "--cache-dir", str(cache.folder.parent), "--models-dir", str(tmp_path)]
    told = ["--pictures", "few", "--max-steps", "2", "--batch-size", "8", "--preview-minutes", "inf"]
    args = parser.parse_args(["train", "prior", *told, *where])
    assert args.handler(args) == 0
    assert load_prior(tmp_path / "prior.safetensors").network.config.embed_dim == EMBED
    assert '"among": 2.0' in capsys.readouterr().out
