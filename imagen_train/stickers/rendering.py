"""How does a package's drawing become pixels? SVG through resvg, WebP through Pillow, centred on a transparent square.

Shapes: n drawings, s side; RGBA is uint8 with straight alpha.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .packages import members, read
from .sources import Package


@dataclass(frozen=True)
class Drawing:
    """One drawing of a package: its own id, its emoji's code points ("1f98a"), and its bytes (SVG or WebP)."""

    id: str
    code: str
    source: bytes


def code_key(code: str) -> str:
    """Code points without presentation marks and joiners, which the sets write or leave out as they like."""
    return re.sub("-?(fe0f|200d)", "", code.lower()).strip("-")


def drawings(package: Package, path: Path, codes: dict[str, str] | None = None) -> Iterator[Drawing]:
    """Every drawing of a package that stands for an emoji, in the package's order.

    codes: id -> code points, for an Iconify set that does not state them itself.
    """
    if package.name.startswith("@iconify-json/"):
        yield from _of_iconify(path, codes)
        return
    for name, source in members(path, ".webp"):
        stem = Path(name).stem
        yield Drawing(stem, code_key(stem), source)


def _of_iconify(path: Path, codes: dict[str, str] | None) -> Iterator[Drawing]:
    icons = json.loads(read(path, "icons.json"))
    if codes is None:
        codes = {}
        for code, name in json.loads(read(path, "chars.json")).items():
            codes.setdefault(name, code_key(code))
    for name, icon in icons["icons"].items():
        if name in codes and not icon.get("hidden"):
            width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
            yield Drawing(name, codes[name], _svg(icon["body"], width, height))


def _svg(body: str, width: float, height: float) -> bytes:
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>'.encode()


def render(drawing: Drawing, side: int, *, supersample: int = 2) -> np.ndarray:
    """RGBA (s s 4), the whole drawing as large as the square allows; SVG is drawn larger and shrunk."""
    if drawing.source.lstrip().startswith(b"<svg"):
        import resvg_py  # an extra: only who renders needs it

        png = resvg_py.svg_to_bytes(svg_string=drawing.source.decode(), width=side * supersample)
        picture = Image.open(io.BytesIO(bytes(png)), formats=["PNG"])
    else:
        picture = Image.open(io.BytesIO(drawing.source), formats=["WEBP"])
    return fitted(picture.convert("RGBA"), side)


def fitted(picture: Image.Image, side: int) -> np.ndarray:
    """RGBA (s s 4): resized with premultiplied colours, so that no dark rim appears, and centred."""
    width, height = picture.size
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = picture.convert("RGBa").resize(size, Image.LANCZOS).convert("RGBA")
    square = Image.new("RGBA", (side, side))
    square.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)
