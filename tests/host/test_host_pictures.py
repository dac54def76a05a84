"""Do pictures of every kind come in as IMAGE and MASK, and go out whole, readable and under a name of their own?"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from imagen_host import runtime
from imagen_host.core_nodes import LoadImage, PreviewImage, SaveImage
from imagen_host.pictures import pictures


@pytest.fixture
def folders(host, tmp_path):
    (tmp_path / "input").mkdir()
    with runtime.use(host):
        yield tmp_path


def put(folders, name, picture, **options):
    picture.save(folders / "input" / name, **options)
    return LoadImage().load_image(name)


def colours(mode="RGB", size=(3, 2)):
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(-1) if channels == 1 else values, mode)


def test_colours_come_in_exactly_and_nothing_is_masked(folders):
    picture = colours()
    image, mask = put(folders, "a.png", picture)
    assert image.shape == (1, 2, 3, 3) and mask.shape == (1, 2, 3) and image.dtype == torch.float32
    assert np.array_equal((image[0].numpy() * 255).round(), np.asarray(picture)) and not mask.any()


def test_alpha_becomes_the_mask(folders):
    picture = colours("RGBA")
    image, mask = put(folders, "a.png", picture)
    assert np.array_equal((image[0].numpy() * 255).round(), np.asarray(picture)[..., :3])
    assert torch.allclose(mask[0], 1 - torch.from_numpy(np.array(picture))[..., 3] / 255)


def test_palette_with_transparency(folders):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    image, mask = put(folders, "a.png", picture, transparency=1)
    assert image[0, 0].tolist() == [[1, 0, 0], [0, 0, 1]] and mask[0, 0].tolist() == [0, 1]


def test_sixteen_bits_keep_their_precision(folders):
    levels = np.array([[0, 1, 32768, 65535]], dtype=np.uint16)
    image, _ = put(folders, "a.png", Image.fromarray(levels))
    assert torch.allclose(image[0, 0, :, 0], torch.from_numpy(levels[0] / 65535).float(), atol=1e-7)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK"])
def test_other_modes(folders, mode):
    picture = Image.new("L", (2, 2), 255).convert(mode)
    image, _ = put(folders, "a.tif" if mode == "CMYK" else "a.png", picture)
    assert image.shape == (1, 2, 2, 3) and image.min() == 1


def test_a_rotated_photograph_stands_upright(folders):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    picture = Image.new("RGB", (4, 2))
    picture.putpixel((0, 1), (255, 255, 255))
    image, mask = put(folders, "a.png", picture, exif=exif)
    assert image.shape == (1, 4, 2, 3) and mask.shape == (1, 4, 2) and image[0, 0, 0].min() == 1


def test_frames_become_a_batch(folders):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    image, mask = put(folders, "a.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    assert image.shape == (3, 3, 4, 3) and mask.shape == (3, 3, 4)
    assert image[:, 0, 0].argmax(-1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [(1, 1), (5000, 300)])
def test_sizes_go_there_and_back(folders, size):
    image, _ = put(folders, "a.png", colours(size=size))
    saved = SaveImage().save_images(image, "copy")["ui"]["images"][0]
    assert np.array_equal(np.asarray(Image.open(folders / "out" / saved["filename"])), np.asarray(colours(size=size)))


def test_every_8_bit_level_survives_loading_and_saving(folders):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    image, _ = put(folders, "a.png", ramp)
    SaveImage().save_images(image, "ramp")
    assert np.asarray(Image.open(folders / "out/ramp_00001_.png"))[0, :, 0].tolist() == list(range(256))


def test_a_missing_picture_names_the_folder_searched(folders):
    assert str(folders / "input") in LoadImage.VALIDATE_INPUTS("none.png")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "", "a\0b"])
def test_names_do_not_lead_out_of_the_input_folder(folders, name):
    Image.new("RGB", (1, 1)).save(folders / "secret.png")
    assert LoadImage.VALIDATE_INPUTS(name) is not True


def test_a_command_line_may_name_any_path(folders, host):
    Image.new("RGB", (1, 1)).save(folders / "photo.png")
    host.open_paths = True
    assert LoadImage.VALIDATE_INPUTS(str(folders / "photo.png")) is True


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n broken"])
def test_files_that_are_no_pictures_are_refused(folders, content):
    (folders / "input/a.png").write_bytes(content)
    assert "a.png" in LoadImage.VALIDATE_INPUTS("a.png")


def test_a_cut_off_picture_is_refused(folders):
    colours(size=(64, 64)).save(folders / "input/a.png")
    data = (folders / "input/a.png").read_bytes()
    (folders / "input/a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"):
        LoadImage().load_image("a.png")


def test_annotated_names_and_the_list_of_files(folders):
    put(folders, "b.png", colours())
    SaveImage().save_images(torch.zeros(1, 2, 2, 3), "x")
    assert LoadImage.VALIDATE_INPUTS("x_00001_.png [output]") is True
    assert LoadImage.INPUT_TYPES()["required"]["image"][0] == ["b.png"]


def test_what_nobody_may_look_at_is_passed_over_in_the_list_of_files(folders, host):
    put(folders, "b.png", colours())
    (folders / "input/broken.png").symlink_to(folders / "gone.png")
    (folders / "input/loop.png").symlink_to(folders / "input/loop.png")
    (folders / "input/folder.png").mkdir()
    (folders / "input/linked.png").symlink_to(folders / "input/b.png")
    host.input_directories = [folders / "gone", *host.input_directories, folders / "input/b.png"]
    assert LoadImage.INPUT_TYPES()["required"]["image"][0] == ["b.png", "linked.png"]


@pytest.mark.parametrize("value", [1.5, None, "a.png", {"samples": torch.zeros(1)}])
def test_what_is_no_picture_is_refused_by_name(folders, value):
    for run in (SaveImage().save_images, PreviewImage().preview_images):
        with pytest.raises(ValueError, match=f"^images: expected a picture .IMAGE., got {type(value).__name__}; link"):
            run(value)


def test_counters_grow_and_never_replace(folders):
    batch = torch.rand(2, 3, 4, 3)
    (folders / "out/sub").mkdir(parents=True)
    (folders / "out/sub/a_00007_.png").write_text("mine")
    (folders / "out/sub/ab_00099_.png").write_text("another's")
    saved = SaveImage().save_images(batch, "sub/a")["ui"]["images"]
    assert saved == [{"filename": f"a_0000{i}_.png", "subfolder": "sub", "type": "output"} for i in (8, 9)]
    assert (folders / "out/sub/a_00007_.png").read_text() == "mine"
    assert not list((folders / "out").rglob(".*"))


def test_tokens_in_names(folders):
    saved = SaveImage().save_images(torch.zeros(2, 3, 4, 3), "%width%x%height%-%year%-%batch_num%-%what%")
    names = [entry["filename"] for entry in saved["ui"]["images"]]
    assert names[0].startswith("4x3-20") and [name[9] for name in names] == ["0", "1"] and "%what%" in names[0]


@pytest.mark.parametrize("prefix", ["../a", "/tmp/a", "a/../../b", "..", "x" * 300, "file/a", "..\\a", "a\0b"])
def test_prefixes_that_cannot_be_saved_are_refused_before_the_run(folders, prefix):
    (folders / "out").mkdir()
    (folders / "out/file").write_text("")
    assert SaveImage.VALIDATE_INPUTS(prefix) is not True
    with pytest.raises((ValueError, OSError)):
        SaveImage().save_images(torch.zeros(1, 2, 2, 3), prefix)
    assert [path.name for path in (folders / "out").iterdir()] == ["file"]


def test_the_graph_is_in_the_file_in_plain_ascii(folders):
    prompt, workflow = {"1": {"inputs": {"text": "a café, 北京"}}}, {"nodes": []}
    SaveImage().save_images(torch.zeros(1, 2, 2, 3), "a", prompt, {"workflow": workflow})
    path = folders / "out/a_00001_.png"
    assert b"iTXt" not in path.read_bytes()
    assert json.loads(Image.open(path).text["prompt"]) == prompt
    assert json.loads(Image.open(path).text["workflow"]) == workflow


def test_previews_go_to_the_temporary_folder(folders):
    [entry] = PreviewImage().preview_images(torch.zeros(1, 2, 2, 3))["ui"]["images"]
    assert entry["type"] == "temp" and (folders / "temp" / entry["filename"]).is_file()


def test_pixels_that_are_no_numbers_are_saved_as_black_with_a_warning(folders):
    image = torch.full((1, 2, 2, 3), 0.5)
    image[0, 0, 0] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    with pytest.warns(UserWarning, match="3 of 12"):
        SaveImage().save_images(image, "a")
    assert np.asarray(Image.open(folders / "out/a_00001_.png"))[0].tolist() == [[0, 255, 0], [127, 127, 127]]


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 2, 2, 2), (0, 2, 2, 3), (1, 0, 2, 3)])
def test_shapes_that_are_no_picture_are_refused(folders, shape):
    with pytest.raises(ValueError, match="shape"):
        pictures.save(torch.zeros(shape), "a", str(folders / "out"), {})


def test_grey_and_transparent_pictures_and_half_precision(folders):
    for channels, mode in ((1, "L"), (4, "RGBA")):
        pictures.save(torch.ones(1, 2, 2, channels, dtype=torch.float16), mode, str(folders / "out"), {})
        assert Image.open(folders / f"out/{mode}_00001_.png").mode == mode
