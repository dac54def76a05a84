"""Is there a picture to begin with where the input folder is empty, and are the user's own found beside it?"""

import importlib

import pytest
import torch
from pack import NODES, PACK, ROOT
from PIL import Image

from imagen_host import runtime

host = importlib.import_module(f"{PACK.__name__}.nodes._host")
Node = NODES["ImagenExamplePicture"]


@pytest.fixture
def folder(tmp_path):
    """An input folder that is empty, as on a fresh machine."""
    with runtime.use(runtime.Runtime(input_directories=[tmp_path])):
        yield tmp_path


def names():
    return Node.INPUT_TYPES()["required"]["image"][0]


def test_a_fresh_machine_has_the_packs_pictures(folder):
    assert names() == [
        f"imagen-nodes/{name}.png"
        for name in (
            *("example", "example_identity", "example_inpaint", "example_left", "example_moon", "example_right"),
            *("example_second", "example_sketch", "zibble"),
        )
    ]
    for name in names()[:3]:
        assert Node.VALIDATE_INPUTS(name) is True
        image, mask = Node().load(name)
        with Image.open(ROOT / "input" / name.removeprefix("imagen-nodes/")) as picture:
            assert image.shape == (1, picture.height, picture.width, 3) and mask.shape == image.shape[:3]
            pixel = torch.tensor(picture.convert("RGBA").getpixel((3, 5))) / 255.0
        assert torch.equal(image[0, 5, 3], pixel[:3]) and mask[0, 5, 3] == 1.0 - pixel[3]


def test_an_animated_one_is_a_batch(folder):
    image, mask = Node().load("imagen-nodes/zibble.png")
    assert image.shape == (10, 128, 128, 3) and mask.shape == (10, 128, 128) and mask.max() == 0
    corners = (image[:, 0, 0] * 255).round().int().tolist()
    assert corners[:3] == [[255, 255, 255], [253, 224, 71], [249, 168, 212]]  # white, yellow, pink
    assert len({tuple(corner) for corner in corners}) == 10


def test_the_mask_is_where_the_picture_is_transparent(folder):
    masks = [Node().load(f"imagen-nodes/{name}.png")[1] for name in ("example", "example_inpaint", "example_moon")]
    assert masks[0].max() == 0.0
    for mask in masks[1:]:
        assert mask.min() == 0.0 and mask.max() == 1.0 and 0.02 < mask.mean() < 0.9


def test_a_picture_of_the_users_is_what_load_image_loads(folder):
    Image.new("RGB", (4, 2), (255, 0, 51)).save(folder / "example.png")
    assert names()[9:] == ["example.png"], "one of the same name hides neither"
    assert Node.VALIDATE_INPUTS("example.png") is True
    image, _ = Node().load("example.png")
    assert image.shape == (1, 2, 4, 3) and torch.equal(image[0, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_a_changed_file_is_loaded_anew(folder):
    Image.new("RGB", (4, 2)).save(folder / "a.png")
    before = Node.IS_CHANGED("a.png")
    assert before == Node.IS_CHANGED("a.png")
    Image.new("RGB", (4, 2), "white").save(folder / "a.png")
    assert Node.IS_CHANGED("a.png") != before
    assert Node.IS_CHANGED(names()[0]) == Node.IS_CHANGED(names()[0]) != Node.IS_CHANGED(names()[1])


@pytest.mark.parametrize("name", ["none.png", "imagen-nodes/none.png", "imagen-nodes/../README.md", "../example.png"])
def test_what_is_not_there_is_said(folder, name):
    said = Node.VALIDATE_INPUTS(name)
    assert isinstance(said, str) and name in said and "\n" not in said


def test_a_name_that_comes_by_a_link_is_checked_when_it_is_known(folder):
    assert Node.VALIDATE_INPUTS(None) is True
