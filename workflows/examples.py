"""Which pictures do graphs begin with that want one? Writes input/example.png and input/example_inpaint.png.

    python workflows/examples.py [--packages DIR]

Composed of the drawings that imagen-mini learned from (`imagen data stickers` fetches them; credits in its SOURCES.md),
sharp at their size. The weights have no part in them, so new weights leave them as they are. Needs resvg-py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from imagen_host.whole_files import whole  # noqa: E402
from imagen_train.options import default_state_root  # noqa: E402
from imagen_train.stickers.pictures import paint  # noqa: E402
from imagen_train.stickers.scene import Placed, Scene  # noqa: E402
from imagen_train.stickers.vectors import VectorLibrary, open_vectors  # noqa: E402

SIDE = 384  # pixels
HOLE = (68, 68, 316, 316)  # left, top, right, bottom of what is to be repainted
FOX = (("fox", 0.5, 0.52, 0.76),)  # noun, centre x and y, longer side, as fractions of the picture
KEPT = (
    ("fox", 0.5, 0.5, 0.6),
    ("heart", 0.1, 0.11, 0.15),
    ("snowflake", 0.9, 0.11, 0.15),
    ("strawberry", 0.1, 0.89, 0.15),
    ("butterfly", 0.9, 0.89, 0.15),
)


def composed(things: tuple[tuple[str, float, float, float], ...], library: VectorLibrary) -> Image.Image:
    """These things in 3D on plain yellow."""
    index = {thing.noun: i for i, thing in enumerate(library.vocabulary)}
    placed = tuple(Placed(index[noun], None, x, y, size, False) for noun, x, y, size in things)
    return Image.fromarray(paint(Scene("one", "3d", placed, "yellow", False, 1), library, SIDE))


def with_hole(picture: Image.Image) -> Image.Image:
    """The picture, softly transparent where HOLE is; what was there is gone."""
    solid = Image.new("L", picture.size, 255)
    ImageDraw.Draw(solid).rounded_rectangle(HOLE, 40, fill=0)
    solid = solid.filter(ImageFilter.GaussianBlur(4))
    seen = Image.composite(picture, Image.new("RGB", picture.size, "white"), solid.point(lambda a: 255 * (a > 0)))
    seen.putalpha(solid)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, default=default_state_root() / "stickers" / "packages")
    library = open_vectors(parser.parse_args().packages, side=SIDE)
    for name, picture in (
        ("example", composed(FOX, library)),
        ("example_inpaint", with_hole(composed(KEPT, library))),
    ):
        with whole(ROOT / "input" / f"{name}.png") as draft:
            picture.save(draft, "PNG", optimize=True)
        print(f"input/{name}.png")


if __name__ == "__main__":
    main()
