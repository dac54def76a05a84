"""What does each template look like? Writes workflows/<name>.jpg from a run, or from a drawing where weights do not ship.

    python workflows/thumbnails.py [NAME ...]

Without names, all of them. `make thumbnails` after the weights or the graphs change; drawings need resvg-py.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from compositions import COMPOSITIONS, GAP, Run, fitted, montage, read  # noqa: E402
from drawings import SIDE  # noqa: E402

from imagen_host.cli import main as imagen  # noqa: E402
from imagen_host.whole_files import whole  # noqa: E402

LIMIT = 60_000  # bytes of a file


def draw(name: str, folder: Path, *changes: str) -> list[Path]:
    """The pictures that a graph saves, with some of its inputs changed ("Title.input=value"). ChildProcessError: failed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["run", name, "--out", str(folder), "--json", "--quiet"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = imagen([*command, *(part for change in changes for part in ("--set", change))])
    if code:
        raise ChildProcessError(f"imagen {' '.join(command)} ended with {code}; it says why above")
    return [Path(path) for path in json.loads(said.getvalue())["images"]]


def save(picture: Image.Image, path: Path, limit: int = LIMIT) -> None:
    """As a JPEG of at most so many bytes, written whole or not at all."""
    with whole(path) as draft:
        for quality in range(92, 20, -4):
            picture.save(draft, "JPEG", quality=quality, optimize=True)
            if draft.stat().st_size <= limit:
                break


def thumbnail(name: str, run: Run) -> Image.Image:
    """One square picture of what a graph is for: as composed for it, else the first four pictures that it saves."""
    if name in COMPOSITIONS:
        return fitted(COMPOSITIONS[name](run), SIDE, SIDE)
    half = (SIDE - GAP) // 2
    return montage([read(path).convert("RGB") for path in run(name)[:4]], columns=2, cell=(half, half))


def main(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = functools.cache(lambda name, *changes: draw(name, Path(tempfile.mkdtemp(dir=folder)), *changes))
        for name in names or sorted(path.stem for path in HERE.glob("*.json")):
            save(thumbnail(name, run), HERE / f"{name}.jpg")
            print(f"workflows/{name}.jpg", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
