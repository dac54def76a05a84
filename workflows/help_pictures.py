"""What pictures do the help pages show? Runs shipped graphs headless and writes web/docs/*.jpg. `make thumbnails`."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from compositions import GROUND, fitted  # noqa: E402
from thumbnails import draw, save  # noqa: E402

DOCS = HERE.parent / "web" / "docs"
CELL, LABEL, GAP = 240, 50, 4  # pixels
PROMPTS = (
    "a red sphere to the left of a blue cube",
    "a blue cube to the left of a red sphere",
    "a large green shiny star on a purple background",
    "two yellow cones at sunset",
)
SCALES = (1.0, 2.0, 5.0, 15.0)
LEVELS = (0.0, 0.05, 0.1, 0.25)
METHODS = ("none", "static", "dynamic")


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


def pictures(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Name and contents of each file."""
    prompts = one_each([[f"Prompt.text={prompt}"] for prompt in PROMPTS], folder / "prompts")
    yield "text_encode", sheet(prompts, PROMPTS)
    scales = one_each([[f"Imagen Base Sample 64.guidance_scale={scale}"] for scale in SCALES], folder / "scales")
    yield "base_sample_64", sheet(scales, [f"guidance_scale {scale:g}" for scale in SCALES])
    methods = {path.name.split("_")[1]: path for path in draw("thresholding_compared", folder / "methods")}
    yield "threshold", sheet([methods[method] for method in METHODS], METHODS)
    levels = {path.name.split("_")[2]: path for path in draw("aug_level_sweep", folder / "levels")}
    yield "super_res", sheet([levels[str(level)] for level in LEVELS], [f"aug_level {level:g}" for level in LEVELS])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, picture in pictures(Path(temporary)):
            save(picture, DOCS / f"{name}.jpg")
            print(f"web/docs/{name}.jpg")
