"""Does every reader take its own files and no others, and is every wrong file named in one line?

What a file of each format looks like says tests/core/stored/NAME.py: `shapes()` -> shapes by key, and the metadata; a
format that needs other files beside it has `write_beside(folder)` too.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imagen_core import find_stages, inspect_checkpoint, load_checkpoint, read_spec, save_checkpoint
from imagen_core._safetensors import aligned
from imagen_core.checkpoints.formats import is_checkpoint, load_any, opened
from imagen_core.checkpoints.key_map import parts_first
from imagen_core.checkpoints.readers import READERS

STORED = Path(__file__).resolve().parent / "stored"


def described(name):
    """The module that says what a file of this reader looks like."""
    file = STORED / f"{name}.py"
    assert file.is_file(), f"describe a file of the {name} reader in {file}"
    spec = importlib.util.spec_from_file_location(f"stored_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layout(name):
    """What a file of this reader holds: shapes by key, metadata."""
    return described(name).shapes()


def lay_beside(name, folder):
    """What such a file needs beside it; returns the folder."""
    if hasattr(module := described(name), "write_beside"):
        module.write_beside(folder)
    return folder


def write(path, shapes, metadata=None):
    torch.manual_seed(0)
    save_file({key: aligned(torch.randn(shape)) for key, shape in shapes.items()}, path, metadata=metadata)
    return path


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]()


@pytest.fixture
def path(reader, tmp_path):
    return write(lay_beside(reader.name, tmp_path) / "it.safetensors", *layout(reader.name))


def test_a_file_is_read_by_its_reader_alone(reader, path):
    with opened(path, kind=reader.kind) as (stored, found, _):
        assert [name for name, each in READERS.items() if each().matches(stored)] == [reader.name] == [found.name]
    network, _ = load_any(path, kind=reader.kind)
    assert not network.training and {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert inspect_checkpoint(path)["kind"] == reader.title.partition(" ")[2]
    assert is_checkpoint(path, reader.kind) and not is_checkpoint(path, "another kind")
    assert reader.title.startswith(("a ", "an "))


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.kind == "stage"])
def test_a_stage_survives_this_packs_own_format(name, tmp_path):
    path = write(lay_beside(name, tmp_path) / "it.safetensors", *layout(name))
    network, spec = load_checkpoint(path)
    assert path in find_stages(tmp_path)
    save_checkpoint(tmp_path / "own.safetensors", network, spec=spec)
    again, same = load_checkpoint(tmp_path / "own.safetensors")
    assert same == spec == read_spec(path)
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True)
    )


def test_what_is_wrong_with_a_file_is_named_in_one_line(reader, tmp_path):
    shapes, metadata = layout(reader.name)
    lay_beside(reader.name, tmp_path)
    last = sorted(shapes)[-1]
    for changed, word in (
        ({key: shape for key, shape in shapes.items() if key != last}, last),
        (shapes | {"zz.extra": (3,)}, "zz.extra"),
        (shapes | {last: (*shapes[last], 2)}, last),
    ):
        with pytest.raises(ValueError) as caught:
            load_any(write(tmp_path / "wrong.safetensors", changed, metadata), kind=reader.kind)
        message = str(caught.value)
        assert str(tmp_path) in message and word in message and "\n" not in message


def test_a_file_of_another_kind_says_what_it_is_and_who_takes_what(reader, path):
    with pytest.raises(ValueError) as caught:
        load_any(path, kind="moustache")
    assert f"{path} is {reader.title}, for {reader.loader}: " in str(caught.value)
    write(path, {"a.b": (3,)})
    with pytest.raises(ValueError, match=f"holds 1 weights, first 'a.b'.* {reader.loader} takes .*{reader.title}"):
        load_any(path, kind=reader.kind)


def test_rows_that_are_stored_head_by_head():
    """q k v of the first head, then of the second, each head two rows of three columns and one tap."""
    rows = torch.arange(2 * 3 * 2).float()[:, None, None].expand(-1, 3, 1)
    sorted_rows = parts_first(3, 2)([rows])
    assert sorted_rows.shape == (12, 3)
    assert sorted_rows[:, 0].tolist() == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
