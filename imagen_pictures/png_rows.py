"""How is a PNG written that no memory holds? Row by row, as they come (PNG specification, third edition: 8 bits, RGB)."""

from __future__ import annotations

import struct
import zlib
from typing import IO

import numpy as np

UP = 2  # the filter: each byte less the one above
LEVEL = 6  # of zlib


class PngRows:
    """Writes to `file`: `write` the rows from above, then `close`."""

    def __init__(self, file: IO[bytes], width: int, height: int) -> None:
        self.file, self.left, self.above = file, height, np.zeros(3 * width, np.uint8)
        self.packed = zlib.compressobj(LEVEL)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    def write(self, rows: np.ndarray) -> None:
        """The next rows, (h w 3) uint8."""
        flat = rows.reshape(len(rows), -1)
        differences = flat - np.concatenate([self.above[None], flat[:-1]])  # modulo 256, as the filter says
        marked = np.concatenate([np.full((len(flat), 1), UP, np.uint8), differences], axis=1)
        self.above, self.left = flat[-1].copy(), self.left - len(flat)
        self._chunk(b"IDAT", self.packed.compress(marked.tobytes()))

    def close(self) -> None:
        """ValueError: there are rows too many, or too few."""
        if self.left:
            raise ValueError(f"{abs(self.left)} rows {'are missing' if self.left > 0 else 'too many'}")
        self._chunk(b"IDAT", self.packed.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind == b"IEND":
            self.file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
