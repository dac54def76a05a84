"""Which pictures do graphs begin with that want one? Writes input/example*.png.

    python workflows/examples.py [--packages DIR]

Composed of the drawings that imagen-mini learned from (`imagen data stickers` fetches them; credits in its SOURCES.md),
sharp at their size. The weights have no part in them, so new weights leave them as they are. Needs resvg-py.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from imagen_host.whole_files import whole  # noqa: E402
from imagen_train.identities import HELD_OUT  # noqa: E402
from imagen_train.options import default_state_root  # noqa: E402
from imagen_train.stickers.figures import Pose, as_pixels, figure_of, laid  # noqa: E402
from imagen_train.stickers.pictures import paint  # noqa: E402
from imagen_train.stickers.scene import Placed, Scene  # noqa: E402
from imagen_train.stickers.vectors import VectorLibrary, open_vectors  # noqa: E402

SIDE = 384  # pixels
HOLE = (68, 68, 316, 316)  # left, top, right, bottom of what is to be repainted
FOX = (("fox", 0.5, 0.52, 0.76),)  # noun, centre x and y, longer side, as fractions of the picture
BUTTERFLY = (("butterfly", 0.5, 0.5, 0.76),)
WHO = HELD_OUT + 20  # the number of a made-up figure
PEN = 0.05  # of a stroke's width, as a fraction of the picture
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


def apple() -> list[list[tuple[float, float]]]:
    """The strokes of an apple, its stem and its leaf, as a hand draws them: points x and y, fractions of the picture."""
    turn = [math.radians(degrees) for degrees in range(-90, 276, 6)]  # a little more than once around
    body = [(0.5 + 0.31 * math.cos(a) + 0.006 * math.sin(5 * a), 0.57 + 0.29 * math.sin(a) + _dip(a)) for a in turn]
    leaf = [(0.63 + 0.1 * math.cos(a), 0.2 - 0.05 * math.sin(a) - 0.04 * math.cos(a)) for a in turn]
    return [body, [(0.5, 0.38), (0.51, 0.28), (0.54, 0.18)], leaf]


def _dip(angle: float) -> float:
    """By how much an apple's outline is pressed in at the top, where its stem is."""
    away = math.remainder(angle + math.pi / 2, 2 * math.pi)
    return 0.1 * math.exp(-((away / 0.5) ** 2))


def sketch(strokes: list[list[tuple[float, float]]]) -> Image.Image:
    """Paper, transparent where it was drawn on, as the mask editor leaves it; the strokes still show."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    solid = Image.new("L", (SIDE, SIDE), 255)
    for points in strokes:
        line, radius = [(x * SIDE, y * SIDE) for x, y in points], PEN * SIDE / 2
        for picture, ink in ((paper, (40, 40, 48)), (solid, 0)):
            pen = ImageDraw.Draw(picture)
            pen.line(line, fill=ink, width=round(2 * radius), joint="curve")
            for x, y in (line[0], line[-1]):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    paper.putalpha(solid)
    return paper


def transparent_side(which: int) -> Image.Image:
    """White, transparent on the left (0) or on the right (1): Load Image and its like make a mask of that."""
    solid, half = Image.new("L", (SIDE, SIDE), 255), SIDE // 2
    solid.paste(0, (which * half, 0, (which + 1) * half, SIDE))
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    picture.putalpha(solid)
    return picture


def somebody() -> Image.Image:
    """A made-up figure that no identity was trained on, on white."""
    behind = np.ones((SIDE, SIDE, 3), np.float32)
    return Image.fromarray(as_pixels(laid(behind, figure_of(WHO), Pose(0.5, 0.5, -60.0, 0.78))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, default=default_state_root() / "stickers" / "packages")
    library = open_vectors(parser.parse_args().packages, side=SIDE)
    for name, picture in (
        ("example", composed(FOX, library)),
        ("example_inpaint", with_hole(composed(KEPT, library))),
        ("example_sketch", sketch(apple())),
        ("example_identity", somebody()),
        ("example_second", composed(BUTTERFLY, library)),
        ("example_left", transparent_side(0)),
        ("example_right", transparent_side(1)),
    ):
        with whole(ROOT / "input" / f"{name}.png") as draft:
            picture.save(draft, "PNG", optimize=True)
        print(f"input/{name}.png")


if __name__ == "__main__":
    main()
