"""What pictures do the help pages and the README show? Runs shipped graphs headless, writes web/docs/*.jpg and
docs/stickers.jpg.

    python workflows/help_pictures.py [NAME ...]

Without names, all of them. `make thumbnails` after the weights or the graphs change.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from compositions import GROUND, INPUT, METHODS, STICKERS, fitted, hinted, opened  # noqa: E402
from thumbnails import draw, save  # noqa: E402

from imagen_core import strokes_to_lines  # noqa: E402

DOCS = HERE.parent / "web" / "docs"
CELL, LABEL, GAP = 240, 50, 4  # pixels
PROMPTS = (
    "a 3D emoji of a red fox on a pink background",
    "a 3D emoji of a blue cat on a white background",
    "a 3D emoji of a puppy on a green background",
    "a 3D emoji of a ladybug on a yellow background",
)
SCALES = (1.0, 2.0, 4.0, 15.0)
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
WEIGHTS = (0.0, 0.5, 0.8, 1.0)
LEVELS = (0.0, 0.05, 0.1, 0.25)
THUMB = 256  # pixels of a picture on the README's sheet


def sheet(pictures: Sequence[Path], labels: Sequence[str]) -> Image.Image:
    """Pictures in two columns, as the help page is narrow, each with its label under it."""
    rows = -(-len(pictures) // 2)
    whole = Image.new("RGB", (2 * CELL + GAP, rows * (CELL + LABEL)), GROUND)
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(17)
    for i, (path, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = i % 2 * (CELL + GAP), i // 2 * (CELL + LABEL)
        whole.paste(fitted(Image.open(path, formats=["PNG", "JPEG"]).convert("RGB"), CELL, CELL), (left, top))
        lines = "\n".join(textwrap.wrap(label, 28))
        middle = (left + CELL // 2, top + CELL + LABEL // 2)
        pen.multiline_text(middle, lines, fill="white", font=font, anchor="mm", align="center")
    return whole


def one_each(settings: Sequence[Sequence[str]], folder: Path) -> list[Path]:
    """The first picture of text_to_image_64 under each of these settings."""
    one = ("Imagen Base Sample 64.batch_size=1", "Imagen Base Sample 64.seed=3")
    return [draw("text_to_image_64", folder / str(i), *one, *changes)[0] for i, changes in enumerate(settings)]


def text_encode(folder: Path) -> Image.Image:
    return sheet(one_each([[f"Prompt.text={prompt}"] for prompt in PROMPTS], folder), PROMPTS)


def base_sample_64(folder: Path) -> Image.Image:
    settings = [[f"Prompt.text={PROMPTS[0]}", f"Imagen Base Sample 64.guidance_scale={scale}"] for scale in SCALES]
    return sheet(one_each(settings, folder), [f"guidance_scale {scale:g}" for scale in SCALES])


def threshold(folder: Path) -> Image.Image:
    methods = {path.name.split("_")[1]: path for path in draw("thresholding_compared", folder)}
    return sheet([methods[method] for method in METHODS], METHODS)


def super_res(folder: Path) -> Image.Image:
    levels = {path.name.split("_")[2]: path for path in draw("aug_level_sweep", folder)}
    return sheet([levels[str(level)] for level in LEVELS], [f"aug_level {level:g}" for level in LEVELS])


def stickers(folder: Path) -> Image.Image:
    """Every line of docs/stickers.csv as `imagen batch text_to_image_1024 docs/stickers.csv` draws it, four in a row."""
    stages = ("Base 64x64", "Super resolution 256", "Super resolution 1024")
    whole = Image.new("RGB", (4 * THUMB, 3 * THUMB))
    for i, row in enumerate(csv.DictReader(STICKERS.open(encoding="utf-8"))):
        changes = [f"Prompt.text={row['prompt']}", *(f"{stage}.seed={row['seed']}" for stage in stages)]
        (path,) = draw("text_to_image_1024", folder / str(i), *changes)
        shown = Image.open(path, formats=["PNG"]).convert("RGB").resize((THUMB, THUMB), Image.Resampling.LANCZOS)
        whole.paste(shown, (i % 4 * THUMB, i // 4 * THUMB))
    return whole


def hints(folder: Path, kind: str, **by_label: dict) -> Image.Image:
    """A picture, and hints of it in square pixels: the settings of each by its label."""
    folder.mkdir()
    picture = opened(INPUT / "example.png")
    shown = {"the picture": picture, **{label: hinted(kind, picture, **more) for label, more in by_label.items()}}
    paths = [folder / f"{i}.png" for i in range(len(shown))]
    for path, each in zip(paths, shown.values(), strict=True):
        each.save(path)
    return sheet(paths, list(shown))


def edges(folder: Path) -> Image.Image:
    folder.mkdir()
    kinds = ("edges", "soft_edges", "scribble")
    paths = [folder / f"{kind}.png" for kind in ("picture", *kinds)]
    picture = opened(INPUT / "example.png")
    for path, each in zip(paths, [picture, *(hinted(kind, picture) for kind in kinds)], strict=True):
        each.save(path)
    return sheet(paths, ["the picture", *kinds])


def palette(folder: Path) -> Image.Image:
    return hints(folder, "palette", **{f"cells {cells}": {"cells": cells} for cells in (4, 8, 16)})


def segments(folder: Path) -> Image.Image:
    return hints(folder, "segments", **{f"groups {groups}": {"groups": groups} for groups in (2, 4, 8)})


def tile(folder: Path) -> Image.Image:
    return hints(folder, "tile", **{f"shrink {shrink}": {"shrink": float(shrink)} for shrink in (2, 4, 8)})


def sketch(folder: Path) -> Image.Image:
    """What was drawn, and the hint of it, as *Imagen Sketch* makes it."""
    folder.mkdir()
    drawn = Image.open(INPUT / "example_sketch.png", formats=["PNG"])
    strokes = 1.0 - torch.from_numpy(np.asarray(drawn.getchannel("A"), np.float32))[None, None] / 255.0
    pixels = ((strokes_to_lines(strokes, 64)[0] + 1.0) * 127.5).byte().permute(1, 2, 0).numpy()
    paths = [folder / "drawn.png", folder / "hint.png"]
    drawn.convert("RGB").save(paths[0])
    fitted(Image.fromarray(pixels), CELL, CELL).save(paths[1])
    return sheet(paths, ["drawn in the mask editor", "the hint, longest_side 64"])


def control(folder: Path) -> Image.Image:
    """A fox's lines followed more and more."""
    paths = [draw("edges_to_picture_1024", folder / str(s), f"Follow the lines.strength={s}")[0] for s in STRENGTHS]
    return sheet(paths, [f"strength {strength:g}" for strength in STRENGTHS])


def image_prompt(folder: Path) -> Image.Image:
    """A picture of a fox beside words that say where it is, and count for more and more."""
    paths = [draw("picture_as_prompt", folder / str(weight), f"What it shows.weight={weight}")[0] for weight in WEIGHTS]
    return sheet(paths, [f"weight {weight:g}" for weight in WEIGHTS])


def identity(folder: Path) -> Image.Image:
    """One made-up figure in the snow, its looks and place told more and more."""
    who = "Who, in the snow"
    told = [(f"{who}.ip_weight={strength}", f"{who}.cn_strength={strength}") for strength in STRENGTHS]
    drawn = [draw("identity_three_scenes", folder / str(i), *changes) for i, changes in enumerate(told)]
    paths = [next(path for path in saved if "in_the_snow" in path.name) for saved in drawn]
    return sheet(paths, [f"ip_weight, cn_strength {strength:g}" for strength in STRENGTHS])


OF_HINTS = (edges, palette, segments, tile, sketch)
HELP = {each.__name__: each for each in (text_encode, base_sample_64, threshold, super_res, control, *OF_HINTS)}
HELP |= {each.__name__: each for each in (image_prompt, identity)}


def main(names: Sequence[str]) -> None:
    """Those that are named, else all."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in names or [*HELP, "stickers"]:
            if name == "stickers":
                save(stickers(Path(temporary) / name), STICKERS.with_suffix(".jpg"), limit=100_000)
            else:
                save(HELP[name](Path(temporary) / name), DOCS / f"{name}.jpg")
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
