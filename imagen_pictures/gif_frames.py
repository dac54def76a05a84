"""How many frames has a GIF, and how large does its picture grow, without decoding any? (Pillow's reader decodes all.)"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO


def gif_frame_sizes(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Width and height of the whole picture at each frame: a frame that reaches beyond its edge makes it larger."""
    file.seek(0)
    head = file.read(13)
    width, height, flags = struct.unpack("<6xHHB2x", head)
    _skip_palette(file, flags)
    while (kind := file.read(1)) not in (b"", b";"):
        if kind == b"!":
            file.read(1)
            _skip_blocks(file)
        elif kind == b"," and len(place := file.read(9)) == 9:
            left, top, w, h, flags = struct.unpack("<HHHHB", place)
            width, height = max(width, left + w), max(height, top + h)
            yield width, height
            _skip_palette(file, flags)
            file.read(1)
            _skip_blocks(file)


def _skip_palette(file: IO[bytes], flags: int) -> None:
    if flags & 128:
        file.seek(3 << (flags & 7) + 1, 1)


def _skip_blocks(file: IO[bytes]) -> None:
    while (length := file.read(1)) not in (b"", b"\0"):
        file.seek(length[0], 1)
