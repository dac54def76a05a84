"""Are the same weights the same picture, wherever in a file they lie? CPUs round otherwise on memory that is not aligned."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from t5_files import make_folder, write_gguf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import text_states, tiny_unet

from imagen_core import Signals, TextEmbeds, load_stage, load_text_encoder, save_checkpoint
from imagen_core._safetensors import ALIGNMENT, is_aligned, opened, write_safetensors


def data_at(path: Path) -> int:
    """Where in a file its numbers begin."""
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def shifted(source: Path, target: Path, offset: int) -> Path:
    """A copy whose data begin at `offset` past a boundary: spaces after the header, as the format allows."""
    raw, start = source.read_bytes(), data_at(source)
    header = raw[8:start].rstrip() + b" "
    header += b" " * ((offset - 8 - len(header)) % ALIGNMENT)
    target.write_bytes(len(header).to_bytes(8, "little") + header + raw[start:])
    assert data_at(target) % ALIGNMENT == offset
    return target


def drawn(stage):
    """One forward pass of a DeepFloyd stage."""
    x_t, low_res = torch.randn(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    text = stage.unet.encode_text(TextEmbeds(embeds=text_states(1), mask=torch.ones(1, 77, dtype=torch.bool)))
    with torch.inference_mode():
        return stage.unet(x_t, torch.tensor([700.0]), text + Signals(pixels=low_res, aug_level=torch.tensor([0.25])))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Stage I as one file of diffusers' own."""
    path = tmp_path_factory.mktemp("aligned") / "foreign.safetensors"
    save_file({key: value.contiguous() for key, value in tiny_unet("base64").state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def own(foreign):
    """The same in this pack's format."""
    path, stage = foreign.with_name("own.safetensors"), load_stage(foreign)
    save_checkpoint(path, stage.unet, spec=stage.spec)
    return path


@pytest.mark.parametrize(("kind", "offsets"), [("foreign", (4, 17, 32)), ("own", (1, 8, 60))])
def test_a_stage_draws_the_same_bits_from_every_layout(kind, offsets, foreign, own, tmp_path):
    source = {"foreign": foreign, "own": own}[kind]
    expected = drawn(load_stage(shifted(source, tmp_path / "stage.safetensors", 0)))
    for offset in offsets:
        stage = load_stage(shifted(source, tmp_path / "stage.safetensors", offset))
        assert all(is_aligned(weight) for weight in stage.unet.state_dict().values()), offset
        assert torch.equal(drawn(stage), expected), offset


def test_a_tensor_is_read_whole_from_every_byte_of_a_line(tmp_path):
    tensors = {"a": torch.randn(3), "b": torch.randn(5, 7).half(), "c": torch.randn(64, 16), "d": torch.randn(())}
    write_safetensors(tmp_path / "a.safetensors", tensors, {})
    for offset in range(ALIGNMENT):
        with opened(shifted(tmp_path / "a.safetensors", tmp_path / "b.safetensors", offset)) as file:
            for key, value in tensors.items():
                for dtype in (None, value.dtype, torch.float64):
                    found = file.read(key, dtype)
                    assert is_aligned(found) and torch.equal(found.double(), value.double()), (offset, key)
                    assert found.dtype == (dtype or value.dtype)


def test_an_archive_of_torch_is_aligned_too(foreign, tmp_path):
    path = tmp_path / "diffusion_pytorch_model.bin"
    whole = torch.empty(2**27, dtype=torch.uint8)
    weights, end = {}, 4
    for key, value in load_file(foreign).items():  # views into one storage, as a careless script saves them
        weights[key] = whole[end : end + value.nbytes].view(torch.float32).view(value.shape)
        weights[key].copy_(value)
        end += value.nbytes + 4 - value.nbytes % 4
    torch.save(weights, path)
    stage = load_stage(path)
    assert all(is_aligned(weight) for weight in stage.unet.state_dict().values())
    assert torch.equal(drawn(stage), drawn(load_stage(foreign)))


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_a_text_encoder_gives_the_same_bits_from_every_layout(keep, tmp_path):
    folder = make_folder(tmp_path / "t5")
    source, prompts = folder / "model.safetensors", ["two blue rings and a sphere", ""]
    expected = load_text_encoder(folder, keep=keep).encode(prompts, pad_to=77).embeds
    for offset in range(0, ALIGNMENT, 4):
        file = shifted(source, tmp_path / "t5.safetensors", offset)
        encoder = load_text_encoder(file, tokenizer=folder, keep=keep)
        assert torch.equal(encoder.encode(prompts, pad_to=77).embeds, expected), offset
        assert all(is_aligned(encoder.network.weights[name].stored) for name in encoder.network.weights), offset


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_weights_of_a_gguf_are_aligned(kind, tmp_path):
    folder = make_folder(tmp_path / "t5", width=256)
    encoder = load_text_encoder(write_gguf(folder, tmp_path / "t5.gguf", kind), tokenizer=folder)
    weights = encoder.network.weights
    assert all(is_aligned(weights[name].stored) for name in weights)
    if kind == "F32":
        exact = load_text_encoder(folder).network.weights
        name = "encoder.block.0.layer.0.SelfAttention.q.weight"
        assert torch.equal(weights[name].stored, exact[name].stored)


def test_what_is_aligned_already_is_not_copied(own, tmp_path):
    """It stays mapped: writing into the file shows in the weights."""
    stage = load_stage(own)
    weights = stage.unet.state_dict()
    key = next(key for key, value in weights.items() if value.ndim == 2 and value.nbytes % ALIGNMENT == 0)
    with own.open("r+b") as stream:
        start, header = data_at(own), json.loads(own.read_bytes()[8 : data_at(own)])
        stream.seek(start + header[key]["data_offsets"][0])
        before = stream.read(4)
        stream.seek(-4, 1)
        stream.write(b"\0\0\0\0")
        stream.flush()
        found = weights[key].flatten()[0].item()
        stream.seek(-4, 1)
        stream.write(before)
    assert found == 0.0 and torch.frombuffer(bytearray(before), dtype=torch.float32)[0] != 0


def test_saved_files_are_laid_out_on_boundaries_and_anybody_reads_them(tmp_path):
    tensors = {
        "odd": torch.randn(3),
        "a.scale": torch.tensor(2.0),
        "bits": torch.tensor([True, False, True]),
        "half": torch.randn(64, 3).half(),
        "b.weight": torch.randn(32, 16),
        "byte": torch.arange(128, dtype=torch.uint8),
        "none": torch.zeros(0, 4),
        "turned": torch.randn(8, 16).T,
        "eight": torch.randn(64).to(torch.float8_e4m3fn),
        "brain": torch.randn(5).bfloat16(),
    }
    path = tmp_path / "saved.safetensors"
    write_safetensors(path, tensors, {"note": "ünïcode", "format": "pt"})
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for key, value in tensors.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key].float(), value.float()), key
    header = json.loads(path.read_bytes()[8 : data_at(path)])
    assert data_at(path) % ALIGNMENT == 0
    for key, value in tensors.items():
        if value.nbytes % ALIGNMENT == 0:
            assert header[key]["data_offsets"][0] % ALIGNMENT == 0, key
        assert header[key]["data_offsets"][0] % value.element_size() == 0, key
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"note": "ünïcode", "format": "pt"}
