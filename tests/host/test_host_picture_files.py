"""Are files told by their bytes, within limits, and do all kinds of numbers come in as the colours they stand for?"""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import picture_samples as samples
import pytest
from PIL import Image, ImageOps, features

from imagen_host.pictures import pictures
from imagen_pictures import picture_files
from imagen_pictures.picture_files import PictureError

ROOT = Path(__file__).resolve().parent.parent.parent
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339


@pytest.fixture
def load(tmp_path):
    """Load bytes as a file: colours (b h w 3) and mask (b h w) as arrays."""

    def loaded(data, name="a.png"):
        (tmp_path / name).write_bytes(data)
        return tuple(part.numpy() for part in pictures.load(tmp_path / name))

    return loaded


@pytest.fixture
def refusal(tmp_path):
    """The line with which a file is refused, at a glance (`check`) or when decoded; always the same kind of error."""

    def refused(data, name="a.png", by=pictures.check):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PictureError) as caught:
            by(tmp_path / name)
        line = str(caught.value)
        assert str(tmp_path / name) in line and "\n" not in line and not line.endswith(".")
        return line

    return refused


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
STRANGERS = {
    "an EPS drawing": EPS,
    "a PDF": b"%PDF-1.7\n",
    "a Photoshop file": b"8BPS\0\1" + bytes(30),
    "an SVG drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "an HEIC": b"\0\0\0\x18ftypheic" + bytes(20),
    "it is empty": b"",
    "give a PNG": b"P6 1 1 255\n\0\0\0",  # Pillow would read it; nobody asked for it
}


@pytest.mark.parametrize("what", STRANGERS)
def test_what_is_none_of_the_named_formats_is_refused_by_what_it_is(refusal, what):
    assert what in refusal(STRANGERS[what])


def test_an_eps_named_png_starts_no_program(tmp_path):
    """Nor does a look into one: whatever Pillow would start is found first on this PATH, and would leave a mark."""
    for name in ("gs", "gswin64c"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        program.chmod(0o755)
    (tmp_path / "a.png").write_bytes(EPS)
    code = (
        "import sys; from pathlib import Path; from imagen_host.pictures import pictures\n"
        "for read in (pictures.check, pictures.load, lambda path: pictures.shown(path, 'a')):\n"
        "    try: read(Path('a.png'))\n"
        "    except ValueError as error: print(error)"
    )
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.count("an EPS drawing") == 3 and not (tmp_path / "started").exists()


LARGE = {
    "13300x13300": lambda: samples.bomb(13300, 13300),
    "8457x16265": lambda: b"GIF87a\x09\x21\x89\x3f\0\0\0,\0\0\0\0\x09\x21\x89\x3f\0\x02\0;",
    "65535x65535": lambda: b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\1D\0,\0\0\0\0\xff\xff\xff\xff\0\2\1D\0;",
    "is too large: at most 67 million": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 90, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6)
    ),
    "more than 4096 frames": lambda: samples.png(1, 1, 8, 2, None, samples.chunk(b"acTL", struct.pack(">II", 9000, 0))),
    "8x6 pixels in 2185 frames": lambda: samples.png(
        8, 6, 8, 2, None, samples.chunk(b"acTL", struct.pack(">II", 4000, 0))
    ),
}


@pytest.mark.parametrize("size", LARGE)
def test_pictures_beyond_the_limits_are_refused_before_anything_is_decoded(refusal, monkeypatch, size):
    if "frames" in size:
        monkeypatch.setattr(picture_files, "MOST_PIXELS", 48 * 2184)
    monkeypatch.setattr(Image.Image, "load", None)  # Pillow's: decoding would be a TypeError, not our line
    assert size in refusal(LARGE[size]())


def test_pages_and_frames_count_together(load, refusal, monkeypatch):
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 3 * 48)
    for form in ("TIFF", "GIF", "WEBP"):
        assert len(load(samples.animated(form, 3))[0]) == 3
        assert "8x6 pixels in 4 frames" in refusal(samples.animated(form, 4))


def test_a_phones_jpeg_is_one_picture(load):
    image, mask = load(samples.phone_jpeg(), "a.jpg")
    assert image.shape == (1, 12, 16, 3) and mask.shape == (1, 12, 16)


@pytest.mark.skipif("AVIF" not in picture_files.FORMATS, reason="this Pillow reads no AVIF")
def test_avif(load):
    picture = samples.gradient("RGBA", (64, 48))
    image, mask = load(samples.saved(picture, "AVIF", quality=100), "a.avif")
    levels = np.asarray(picture) / 255
    assert np.abs(image[0] - levels[..., :3]).max() < 0.05 and np.abs(1 - mask[0] - levels[..., 3]).max() < 0.05


def itxt(text, packed):
    return samples.chunk(b"iTXt", b"note\0" + (b"\1\0\0\0" + zlib.compress(text) if packed else b"\0\0\0\0" + text))


@pytest.mark.parametrize(
    "chunks",
    [
        [itxt(b"x" * 2**21, packed=True)],
        [itxt(b"x" * 2**21, packed=False)],
        [samples.chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2**26)))],
        [samples.chunk(b"tEXt", b"note\0" + b"x" * 2**20)] * 70,
        [samples.chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2**20 - 99)))] * 70,
        [samples.chunk(b"zTXt", b"note\0\7???"), samples.chunk(b"iCCP", b"no zero")],
    ],
    ids=["iTXt packed", "iTXt", "bomb", "many", "many packed", "broken"],
)
@pytest.mark.filterwarnings("ignore:.*colour profile")
def test_large_texts_are_no_reason_to_refuse(load, chunks):
    row = bytes(range(6))
    texts_first, texts_last = samples.png(2, 1, 8, 2, row, *chunks), samples.png(2, 1, 8, 2, row)
    texts_last = texts_last[:-12] + b"".join(chunks) + texts_last[-12:]
    for data in (texts_first, texts_last):
        assert (load(data)[0].flatten() * 255).round().tolist() == list(row)


def test_large_texts_do_not_take_the_turn_with_them(load):
    exif = samples.rotated().tobytes().removeprefix(b"Exif\0\0")
    chunks = [itxt(b"x" * 2**21, packed=True), samples.chunk(b"eXIf", exif)]
    assert load(samples.png(4, 2, 8, 2, None, *chunks))[0].shape == (1, 4, 2, 3)


def grey(load, data, name="a.tif"):
    image, mask = load(data, name)
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    return image[0, ..., 0], mask[0]


RAMP = np.linspace(0, 1, 13)[None]
SCALES = {
    "uint8": (1 / 255, np.uint8, 255),
    "uint16": (1 / 65535, np.uint16, 65535),
    "float, 0 to 1": (0, np.float32, 1),
    "float, 0 to 255": (0, np.float32, 255),
    "float, 0 to 65535": (0, np.float32, 65535),
    "int32, 8 bits used": (1 / 255, np.int32, 255),
    "int32, 12 bits used": (1 / 4095, np.int32, 4095),
    "int32, 16 bits used": (1 / 65535, np.int32, 65535),
    "int32, all used": (0, np.int32, 2**31 - 1),
    "int16": (1 / 32767, np.int16, 32767),
    "int16, 12 bits used": (1 / 4095, np.int16, 4095),
}


@pytest.mark.parametrize("kind", SCALES)
def test_grey_of_every_type_is_scaled_by_its_own_white(load, kind):
    step, dtype, white = SCALES[kind]
    numbers = (RAMP * white).astype(dtype)
    data = raw_tiff(numbers, bits=16, sample_format=2) if dtype == np.int16 else samples.tiff(numbers)
    assert np.abs(grey(load, data)[0] - RAMP).max() <= step + 1e-6


def raw_tiff(numbers, *, bits, sample_format, photometric=1):
    """One strip, uncompressed, little-endian."""
    height, width = numbers.shape
    strip = numbers.tobytes()
    tags = [(256, width), (257, height), (BITS, bits), (259, 1), (PHOTOMETRIC, photometric), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(strip)), (SAMPLE_FORMAT, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_unsigned_numbers_stay_so_and_twelve_bits_have_their_own_white(load):
    numbers = (RAMP * (2**32 - 1)).astype(np.uint32)
    assert np.allclose(grey(load, raw_tiff(numbers, bits=32, sample_format=1))[0], RAMP, atol=1e-6)
    packed = np.frombuffer(bytes.fromhex("000fff7ff800"), np.uint8)[None]  # 000 fff 7ff 800: two numbers in three bytes
    twelve = raw_tiff(packed, bits=12, sample_format=1).replace(
        struct.pack("<HHII", 256, 3, 1, 6), struct.pack("<HHII", 256, 3, 1, 4)
    )
    assert np.allclose(grey(load, twelve)[0], [[0, 1, 0x7FF / 0xFFF, 0x800 / 0xFFF]], atol=1e-6)


@pytest.mark.parametrize(("dtype", "bits", "form"), [(np.uint8, 8, 1), (np.uint16, 16, 1), (np.float32, 32, 3)])
def test_white_may_be_zero(load, dtype, bits, form):
    white = 1 if form == 3 else 2**bits - 1
    numbers = (RAMP * white).astype(dtype)
    shown = grey(load, raw_tiff(numbers, bits=bits, sample_format=form, photometric=0))[0]
    assert np.abs(shown - (1 - RAMP)).max() < 0.01


WITHOUT_SCALE = {
    "negative": np.array([[-1.0, 1.0]], np.float32),
    "no numbers": np.array([[0.5, np.nan]], np.float32),
    "infinite": np.array([[0.5, np.inf]], np.float32),
    "light beyond white": np.array([[0.2, 7.5]], np.float32),
    "labels": np.array([[0, 20]], np.int32),
    "below zero": np.array([[-5, 200]], np.int32),
    "between": np.array([[0, 10**7]], np.int32),
}


@pytest.mark.parametrize("kind", WITHOUT_SCALE)
def test_numbers_without_a_usual_scale_are_refused_with_their_range(refusal, kind):
    numbers = WITHOUT_SCALE[kind]
    line = refusal(samples.tiff(numbers), by=pictures.load)
    assert "numbers from" in line and f"{numbers.max():.6g}" in line


def test_black_is_black_and_a_mask_of_ones_is_white(load):
    for dtype in (np.int32, np.float32, np.uint16):
        assert grey(load, samples.tiff(np.zeros((2, 2), dtype)))[0].max() == 0
    assert grey(load, samples.tiff(np.array([[0, 1]], np.int32)))[0].tolist() == [[0, 1]]
    overshoot = np.array([[-0.03, 0.5, 1.04]], np.float32)
    assert grey(load, samples.tiff(overshoot))[0].tolist() == [[0, 0.5, 1]]


def trns(*levels):
    return samples.chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))


@pytest.mark.parametrize(
    ("depth", "kind", "row", "transparent", "expected"),
    [
        (16, 0, struct.pack(">2H", 1000, 40000), (1000,), [1000 / 65535, 40000 / 65535]),
        (8, 0, bytes([5, 6]), (5,), [5 / 255, 6 / 255]),
        (4, 0, bytes([0x5A]), (5,), [5 / 15, 10 / 15]),
        (2, 0, bytes([0b01100000]), (1,), [1 / 3, 2 / 3]),
        (1, 0, bytes([0b10000000]), (1,), [1, 0]),
        (16, 2, struct.pack(">6H", 1000, 2000, 3000, 9000, 2000, 3000), (1000, 2000, 3000), [3 / 255, 35 / 255]),
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), (1, 2, 3), [1 / 255, 4 / 255]),
    ],
)
def test_the_transparent_colour_of_every_depth(load, tmp_path, depth, kind, row, transparent, expected):
    image, mask = load(samples.png(2, 1, depth, kind, row, trns(*transparent)))
    assert np.allclose(image[0, 0, :, 0], expected) and mask[0, 0].tolist() == [1, 0]
    shown = pictures.shown(tmp_path / "a.png", "a")
    assert shown.mode == "RGBA" and shown.getchannel("A").tobytes() == b"\0\xff"
    assert [pixel[0] for pixel in np.asarray(shown)[0]] == [round(level * 255) for level in expected]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_is_what_pillow_makes_of_it(load, mode):
    """Bit for bit what ComfyUI's own node gets, where 8 bits hold the colours."""
    picture = samples.gradient("RGBA").quantize(16).convert("PA") if mode == "PA" else samples.gradient(mode)
    data = samples.saved(picture, "TIFF" if mode in ("CMYK", "YCbCr", "PA") else "PNG")
    stored = Image.open(io.BytesIO(data))
    image, mask = load(data)
    assert np.array_equal(image[0], np.asarray(stored.convert("RGB"), dtype=np.float32) / 255.0)
    assert np.array_equal(mask[0], 1 - np.asarray(stored.convert("RGBA").getchannel("A"), dtype=np.float32) / 255.0)


@pytest.mark.parametrize("turn", range(9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_turns_as_pillow_turns(load, turn, form):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = samples.saved(samples.gradient(), form, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(load(data)[0][0], np.asarray(upright, dtype=np.float32) / 255.0)


def test_broken_exif_leaves_a_picture_as_it_is(load):
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", b"Exif\0\0garbage", b"Exif\0\0"):
        assert load(samples.saved(samples.gradient(), "JPEG", exif=exif))[0].shape == (1, 12, 16, 3)


def test_lab_is_seen_as_colours(load):
    image, _ = load(samples.saved(Image.new("LAB", (2, 2), (136, 81 ^ 0, 70)), "TIFF"))
    assert image.shape == (1, 2, 2, 3) and image[0, 0, 0].max() - image[0, 0, 0].min() > 0.1


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGBA")]
)
def test_colours_of_an_embedded_profile_become_srgb(load, tmp_path, form, mode):
    options = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    picture = Image.new(mode, (8, 8), (220, 40, 90, 128)[: len(mode)])
    plain, plain_mask = load(samples.saved(picture, form, **options))
    image, mask = load(samples.saved(picture, form, icc_profile=samples.swapped_profile(), **options))
    assert np.abs(image[..., [1, 0, 2]] - plain).max() < 0.02 and np.array_equal(mask, plain_mask)
    assert "icc_profile" not in pictures.shown(tmp_path / "a.png", "a").info
    same, _ = load(samples.saved(picture, form, icc_profile=samples.srgb_profile(), **options))
    assert np.array_equal(same, plain)


def test_grey_of_16_bits_follows_its_profile(load):
    numbers = np.linspace(0, 65535, 999).astype(np.uint16)[None]
    data = samples.saved(Image.fromarray(numbers), "PNG", icc_profile=samples.grey_profile(1.0))
    shown, linear = grey(load, data)[0][0], numbers[0] / 65535
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(shown - srgb)[50:].max() < 0.01 and (np.diff(shown) >= 0).all()
    eight = samples.saved(
        Image.fromarray(np.arange(256, dtype=np.uint8)[None]), "PNG", icc_profile=samples.grey_profile(1.0)
    )
    assert abs(grey(load, eight)[0][0, 128] - 0.737) < 0.01


@pytest.mark.parametrize("profile", ["garbage", "cut", "empty colours", "for CMYK"])
def test_a_profile_that_says_nothing_is_ignored_with_a_line(load, profile):
    good = samples.srgb_profile()
    broken = {"garbage": b"x" * 200, "cut": good[:300], "empty colours": good[:128] + bytes(4)}
    broken["for CMYK"] = good[:16] + b"CMYK" + good[20:]
    with pytest.warns(UserWarning, match=r"a\.png: its colour profile is ignored"):
        image, _ = load(samples.saved(samples.gradient(), "PNG", icc_profile=broken[profile]))
    assert np.array_equal(image[0], np.asarray(samples.gradient(), dtype=np.float32) / 255.0)


DAMAGED = {
    "no image in it": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + bytes(60),
    "half": samples.saved(samples.gradient(), "JPEG")[:400],
    "no size": b"II*\0\x08\0\0\0\x01\0\x03\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_named_in_one_line(refusal, kind):
    if kind == "no image in it" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    line = refusal(DAMAGED[kind], by=pictures.load)
    assert "damaged" in line or "not a picture" in line


def test_what_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(PictureError, match="cannot be read: No such file"):
        pictures.load(tmp_path / "none.png")
    with pytest.raises(PictureError, match="cannot be read: Is a directory"):
        pictures.check(tmp_path)
