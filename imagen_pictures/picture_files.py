"""Which files are opened as pictures, how large may they be, and what is said of one that cannot be read?

This is the only place that calls Image.open: a file's bytes choose among the readers named here and no others (Pillow
has some forty, and one of them starts Ghostscript), and sizes are looked at before anything is decoded.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError, features

from .gif_frames import gif_frame_sizes
from .png_chunks import without_large_texts

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else []))
NAMES = "PNG, JPEG, WebP, GIF, BMP, TIFF" + (" or AVIF" if "AVIF" in FORMATS else "")
SUFFIXES = {".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SUFFIXES |= {".avif"} if "AVIF" in FORMATS else set()
MOST_PIXELS = 64 * 2**20  # of all frames together, 8192x8192; as an IMAGE and a MASK they take a GiB
MOST_FRAMES = 4096
LARGEST_FILE = 2**30  # bytes; some readers take a file into memory whole
STARTS = {  # what people take for pictures, by how it begins
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"GIF8": "a damaged GIF",
    b"BM": "a damaged BMP",
    b"RIFF": "a damaged WebP, or another RIFF file",
    b"II*\0": "a TIFF that is damaged, or of a kind that is not read; 8 and 16 bits a colour are",
    b"MM\0*": "a TIFF that is damaged, or of a kind that is not read; 8 and 16 bits a colour are",
    b"%!PS": "an EPS drawing",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file, perhaps an SVG drawing",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"\x00\x00\x01\x00": "an icon",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000",
    b"\xff\x0a": "a JPEG XL",
    b"\x00\x00\x00\x0cJX": "a JPEG XL",
    b"\x76\x2f\x31\x01": "an OpenEXR",
    b"#?RAD": "a Radiance HDR",
    b"version https://git-lfs": "a Git LFS pointer (run `git lfs pull`)",
    b"PK\x03\x04": "an archive",
}
BRANDS = {b"heic": "an HEIC", b"heix": "an HEIC", b"mif1": "an HEIF", b"avif": "an AVIF", b"avis": "an AVIF"}

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limits are lower
warnings.filterwarnings("ignore", module=r"PIL\.")  # what Pillow notices in files and reads in spite of it


class PictureError(ValueError):
    """A file that is no picture, or a damaged or too large one: one line that names it."""


@contextlib.contextmanager
def opened(source: Path | IO[bytes], name: str | None = None) -> Iterator[Image.Image]:
    """A picture with its header read, within the limits, for the block to decode.

    Raises PictureError, with `name` (default: the path) in it, for whatever keeps it from being read, in the block too.
    """
    name = str(source) if name is None else name
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(source, "rb")) if isinstance(source, Path) else source
            file.seek(0)
            start = file.read(64)
            if file.seek(0, 2) > LARGEST_FILE:
                raise PictureError(f"{name} is larger than {LARGEST_FILE >> 30} GiB: save it smaller")
            readable = without_large_texts(file, name)
            _check_frames(readable, name)
            yield stack.enter_context(_open(readable))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read{_seems(start)}: give a {NAMES}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{name} is too large: at most {_most()} are read, make it smaller") from None
    except MemoryError:
        raise PictureError(f"{name} needs more memory than there is: save it smaller") from None
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise PictureError(f"{name} cannot be read: {error.strerror}") from error
        raise _damaged(name, error) from error
    except Exception as error:  # a damaged file makes Pillow's readers stumble in every way there is
        raise _damaged(name, error) from error


def check(source: Path | IO[bytes], name: str | None = None) -> None:
    """Raise PictureError when `source` is no picture, or is too large; reads its headers only."""
    with opened(source, name):
        pass


def frames_of(picture: Image.Image) -> int:
    """How many frames are read: a phone's JPEG has further pictures inside (MPO), but shows one."""
    return 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)


def _open(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def _check_frames(file: IO[bytes], name: str) -> None:
    """Add up what decoding would take. PictureError beyond the limits."""
    pixels = 0
    with _open(file) as picture:
        sizes = gif_frame_sizes(file) if picture.format == "GIF" else _frame_sizes(picture)
        for number, (width, height) in enumerate(sizes, start=1):
            pixels += width * height
            if number > MOST_FRAMES:
                raise PictureError(f"{name} has more than {MOST_FRAMES} frames: split it")
            if pixels > MOST_PIXELS:
                frames = f" in {number} frames or more" if number > 1 else ""
                size = f"{width}x{height} pixels{frames}"
                raise PictureError(f"{name} is too large, {size}: at most {_most()} are read, make it smaller")


def _most() -> str:
    return f"{MOST_PIXELS / 1e6:.0f} million pixels ({math.isqrt(MOST_PIXELS)} squared)"


def _frame_sizes(picture: Image.Image) -> Iterator[tuple[int, int]]:
    """Width and height of every frame, without decoding one."""
    yield picture.size
    if picture.format != "TIFF":  # a page of a TIFF has a size of its own
        yield from (picture.size for _ in range(1, frames_of(picture)))
        return
    for number in range(1, MOST_FRAMES + 1):
        try:
            picture.seek(number)
        except EOFError:
            return
        yield picture.size


def _damaged(name: str, error: Exception) -> PictureError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return PictureError(f"{name} is a damaged picture ({reason:.200}): save it again, or name another")


def _seems(start: bytes) -> str:
    """What a file seems to be instead, for the message."""
    if not start:
        return " (it is empty)"
    brand = BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None
    kind = brand or next((what for magic, what in STARTS.items() if start.lstrip().startswith(magic)), None)
    return f" ({kind}, it seems)" if kind else ""
