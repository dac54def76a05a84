"""What pictures do the help pages show? Runs shipped graphs headless and writes web/docs/*.jpg. `make thumbnails`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from thumbnails import GROUND, draw, montage, save  # noqa: E402

DOCS = HERE.parent / "web" / "docs"
CELL = 200
PROMPTS = (
    "a red sphere to the left of a blue cube",
    "a blue cube to the left of a red sphere",
    "a large green shiny star on a purple background",
    "two yellow cones at sunset",
)
SCALES = (1.0, 2.0, 5.0, 15.0)
LEVELS = (0.0, 0.05, 0.1, 0.25)
METHODS = ("none", "static", "dynamic")


def row(pictures: Sequence[Path], labels: Sequence[str]) -> Image.Image:
    """Pictures side by side, each with a line under it."""
    sheet = montage([Image.open(path).convert("RGB") for path in pictures], columns=len(pictures), cell=(CELL, CELL))
    labelled = Image.new("RGB", (sheet.width, sheet.height + 26), GROUND)
    labelled.paste(sheet, (0, 0))
    pen, font = ImageDraw.Draw(labelled), ImageFont.load_default(13)
    for i, label in enumerate(labels):
        lines = label if pen.textlength(label, font=font) <= CELL else f"{label[:28]}..."
        pen.text((i * (CELL + 4) + CELL // 2, sheet.height + 13), lines, fill="white", font=font, anchor="mm")
    return labelled


def one_each(settings: Sequence[Sequence[str]], folder: Path) -> list[Path]:
    """The first picture of text_to_image_64 under each of these settings."""
    one = ("Imagen Base Sample 64.batch_size=1", "Imagen Base Sample 64.seed=3")
    return [draw("text_to_image_64", folder / str(i), *one, *changes)[0] for i, changes in enumerate(settings)]


def pictures(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Name and contents of each file."""
    prompts = one_each([[f"Prompt.text={prompt}"] for prompt in PROMPTS], folder / "prompts")
    yield "text_encode", row(prompts, PROMPTS)
    scales = one_each([[f"Imagen Base Sample 64.guidance_scale={scale}"] for scale in SCALES], folder / "scales")
    yield "base_sample_64", row(scales, [f"guidance_scale {scale:g}" for scale in SCALES])
    methods = {path.name.split("_")[1]: path for path in draw("thresholding_compared", folder / "methods")}
    yield "threshold", row([methods[method] for method in METHODS], METHODS)
    levels = {path.name.split("_")[2]: path for path in draw("aug_level_sweep", folder / "levels")}
    yield "super_res", row([levels[str(level)] for level in LEVELS], [f"aug_level {level:g}" for level in LEVELS])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, picture in pictures(Path(temporary)):
            save(picture, DOCS / f"{name}.jpg")
            print(f"web/docs/{name}.jpg")
