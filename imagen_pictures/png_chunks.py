"""Which parts of a PNG would keep Pillow from reading its pixels, and how does it look without them?

Pillow refuses a file whose texts are large when unpacked (a long workflow, a bomb). They are no part of the picture.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import IO

MAGIC = b"\x89PNG\r\n\x1a\n"
LARGEST_TEXT = 2**20 - 1  # bytes, unpacked: Pillow's own limit for one
MOST_TEXT = 2**24  # for all together; Pillow takes 2**26


def without_large_texts(file: IO[bytes], name: str) -> IO[bytes]:
    """`file` itself, or, where texts or a colour profile are too large, a copy without those."""
    file.seek(0)
    if file.read(8) != MAGIC:
        return file
    left_out, room = [], MOST_TEXT
    for kind, start, length in chunks(file):
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            continue
        file.seek(start + 8)
        size = _unpacked_size(kind, file.read(length)) if length <= LARGEST_TEXT else LARGEST_TEXT + 1
        if size > min(room, LARGEST_TEXT):
            left_out.append((start, length + 12))
            if kind == b"iCCP":
                warnings.warn(f"{name}: its colour profile is damaged or too large and is ignored", stacklevel=2)
        else:
            room -= size
    return _copy_without(file, left_out) if left_out else file


def chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of each chunk of a PNG, as far as the file goes; the data begin 8 bytes after the place."""
    end, place = file.seek(0, 2), len(MAGIC)
    while place + 12 <= end:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if place + 12 + length > end:
            return
        yield kind, place, length
        place += 12 + length


def _unpacked_size(kind: bytes, data: bytes) -> int:
    """Bytes of a chunk when unpacked, or just more than the limit; what is no packed data counts as too large."""
    if kind == b"tEXt":
        return len(data)
    keyword, _, rest = data.partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return len(data)
        rest = rest[1:2] + rest[2:].split(b"\0", 2)[-1]  # method; then language, keyword, text
    if rest[:1] != b"\0":  # no method that there is
        return LARGEST_TEXT + 1
    unpacked = zlib.decompressobj()
    try:
        return len(unpacked.decompress(rest[1:], LARGEST_TEXT + 1))
    except zlib.error:
        return LARGEST_TEXT + 1


def _copy_without(file: IO[bytes], left_out: list[tuple[int, int]]) -> IO[bytes]:
    copy, place = io.BytesIO(), 0
    for start, length in [*left_out, (file.seek(0, 2), 0)]:
        file.seek(place)
        copy.write(file.read(start - place))
        place = start + length
    copy.seek(0)
    return copy
