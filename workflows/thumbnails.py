"""What does each template look like? Runs the shipped graphs headless and writes workflows/<name>.jpg beside them.

    python workflows/thumbnails.py [NAME ...] [NAME=PICTURE,PICTURE ...]

Without names, every graph that the embedded host can run. NAME=PICTURE gives pictures that were made elsewhere, for the
graphs that need ComfyUI. `make thumbnails` after the weights or the graphs change.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
SIDE = 480
LIMIT = 60_000  # bytes of a file
GROUND = (24, 24, 28)


def draw(name: str, folder: Path, *changes: str) -> list[Path]:
    """The pictures that a graph saves, with some of its inputs changed ("Title.input=value").

    Raises subprocess.CalledProcessError where it does not run, for want of weights that do not ship, for one.
    """
    command = [sys.executable, "-m", "imagen_host", "run", name, "--out", str(folder), "--json", "--quiet"]
    done = subprocess.run(
        [*command, *(part for change in changes for part in ("--set", change))],
        cwd=HERE.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [Path(path) for path in json.loads(done.stdout)["images"]]


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture cut about its centre to this size; small ones keep their square pixels."""
    scale = max(width / picture.width, height / picture.height)
    size = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    grown = picture.resize(size, Image.Resampling.NEAREST if scale > 1.5 else Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return grown.crop((left, top, left + width, top + height))


def montage(pictures: Sequence[Image.Image], *, columns: int, cell: tuple[int, int], gap: int = 4) -> Image.Image:
    """Pictures in rows of `columns`, each `cell` pixels large."""
    rows = -(-len(pictures) // columns)
    width, height = cell
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), GROUND)
    for i, picture in enumerate(pictures):
        sheet.paste(fitted(picture, width, height), (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet


def save(picture: Image.Image, path: Path) -> None:
    """As a JPEG of at most LIMIT bytes, written whole or not at all."""
    part = path.with_suffix(".part")
    for quality in range(90, 20, -5):
        picture.save(part, "JPEG", quality=quality, optimize=True)
        if part.stat().st_size <= LIMIT:
            break
    part.replace(path)


def thumbnail(paths: Sequence[Path]) -> Image.Image:
    """One square picture of what a graph drew: one large, two side by side, else in two rows."""
    pictures = [Image.open(path, formats=["PNG", "JPEG"]).convert("RGB") for path in paths][:4]
    if len(pictures) == 1:
        return fitted(pictures[0], SIDE, SIDE)
    half = (SIDE - 4) // 2
    return montage(pictures, columns=2, cell=(half, SIDE if len(pictures) == 2 else half))


def runnable() -> list[str]:
    """The graphs whose nodes the embedded host has and whose weights ship."""
    sys.path.insert(0, str(HERE.parent))
    from imagen_host.reading import missing_classes
    from imagen_host.registry import load_registry

    classes = load_registry().classes
    return [path.stem for path in sorted(HERE.glob("*.json")) if not missing_classes(path, classes)]


def main(arguments: Sequence[str]) -> None:
    for argument in arguments or runnable():
        name, _, given = argument.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            try:
                pictures = [Path(path) for path in given.split(",")] if given else draw(name, Path(folder))
            except subprocess.CalledProcessError:
                print(f"workflows/{name}.jpg stays as it is: the graph does not run here")
                continue
            save(thumbnail(pictures), HERE / f"{name}.jpg")
        print(f"workflows/{name}.jpg")


if __name__ == "__main__":
    main(sys.argv[1:])
