"""What does the recipe train on where somebody has no pictures at hand? 200 drawn ones with captions, no two alike.

`python make_pictures.py pictures`: one shape in one of ten colours on one of four backgrounds, at a place and size of
its own. Six pairs of a shape and a colour are never drawn (HELD_BACK): they are what to ask the trained network for.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

COLORS = {
    "red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 220), "yellow": (240, 210, 40),
    "orange": (245, 140, 30), "purple": (140, 60, 190), "pink": (245, 140, 190), "brown": (130, 80, 40),
    "black": (20, 20, 20), "white": (250, 250, 250),
}  # fmt: skip
BACKGROUNDS = {"grey": (150, 150, 150), "sky": (150, 205, 250), "sand": (235, 215, 165), "mint": (170, 230, 195)}
SHAPES = ("circle", "square", "triangle", "star", "ring")
HELD_BACK = {
    ("red", "star"), ("green", "ring"), ("blue", "triangle"), ("yellow", "square"), ("purple", "circle"), ("orange", "ring")
}  # fmt: skip
SIDE, FINER = 64, 4  # drawn larger and shrunk, for smooth edges


def outline(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The corners of a square, triangle or star around (x, y)."""
    corners = {"square": 4, "triangle": 3, "star": 10}[shape]
    turn = math.pi / 4 if shape == "square" else math.pi / 2
    lengths = [radius * (0.45 if shape == "star" and i % 2 else 1.0) for i in range(corners)]
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(x + r * math.cos(a), y - r * math.sin(a)) for r, a in zip(lengths, angles, strict=True)]


def drawn(shape: str, color: str, background: str, rng: Random) -> Image.Image:
    """One picture."""
    side = SIDE * FINER
    picture = Image.new("RGB", (side, side), BACKGROUNDS[background])
    radius = side * rng.uniform(0.24, 0.36)
    x, y = (rng.uniform(radius, side - radius) for _ in range(2))
    brush, box = ImageDraw.Draw(picture), (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        brush.ellipse(box, fill=COLORS[color])
    elif shape == "ring":
        brush.ellipse(box, outline=COLORS[color], width=round(radius * 0.4))
    else:
        brush.polygon(outline(shape, x, y, radius), fill=COLORS[color])
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def make(folder: Path, count: int = 200, seed: int = 0) -> None:
    """Write `count` pictures, each with its caption beside it."""
    rng = Random(seed)
    pairs = [(color, shape) for color in COLORS for shape in SHAPES if (color, shape) not in HELD_BACK]
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (color, shape), background = pairs[i % len(pairs)], rng.choice(list(BACKGROUNDS))
        article = "an" if color[0] in "aeiou" else "a"
        drawn(shape, color, background, rng).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(f"{article} {color} {shape} on a {background} background\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args(argv)
    make(args.folder, args.count)


if __name__ == "__main__":
    main()
