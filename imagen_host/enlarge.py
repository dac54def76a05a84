"""`imagen enlarge`: a picture four times as large, from disk to disk, however large that is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .places import place

SHIPPED = Path("models") / "imagen-mini" / "sr1024.safetensors"


def add_enlarge(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    enlarge = commands.add_parser("enlarge", help="make a picture four times as large, from disk to disk")
    add = enlarge.add_argument
    add("picture", metavar="PICTURE", help="PNG, JPEG, WebP, TIFF, ...; transparent parts become white")
    add("out", metavar="OUT.png", help="where to; a file of that name is replaced when the new one is whole")
    add("--checkpoint", metavar="FILE", help="a stage that enlarges four times without a prompt (default: sr1024)")
    add("--steps", type=int, default=2, help="calls of the network a tile (default: %(default)s)")
    add("--seed", type=int, default=0, help="the same seed draws the same picture (default: %(default)s)")
    add(
        "--tile-size",
        type=int,
        default=512,
        help="side of a tile and height of a band, in pixels (default: %(default)s)",
    )
    add("--overlap", type=int, default=64, help="pixels that neighbours share (default: %(default)s)")
    add("--quiet", action="store_true", help="show no progress")
    enlarge.set_defaults(handler=enlarge_file)


def enlarge_file(options: argparse.Namespace) -> None:
    """Print the new file's path. ValueError: a picture, checkpoint or setting that is wrong."""
    import numpy as np

    from .registry import load_pack, pack_folder
    from .whole_files import whole

    out = place(options.out)
    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        raise ValueError(f"{out}: name a .png in a folder that is there")
    core: Any = sys.modules[f"{load_pack(pack_folder()).__name__}.imagen_core"]
    small = _pixels(place(options.picture))
    checkpoint = place(options.checkpoint) if options.checkpoint else pack_folder() / SHIPPED
    if not checkpoint.is_file():
        raise ValueError(f"there is no checkpoint {checkpoint}")
    stage = core.load_stage(checkpoint)
    with whole(out) as draft, open(draft, "wb") as file:
        from imagen_pictures.png_rows import PngRows

        height, width = small.shape[:2]
        picture = PngRows(file, 4 * width, 4 * height)
        for part in _parts(core, stage, small, options):
            picture.write(np.asarray(((part + 1.0) * 127.5).round().clamp(0, 255).byte().movedim(0, -1)))
            _say(options, 4 * height - picture.left, 4 * height)
        picture.close()
    print(out)


def _parts(core: ModuleType, stage: Any, small: Any, options: argparse.Namespace) -> Iterator[Any]:
    import torch

    def rows_of(rows: slice) -> torch.Tensor:
        return torch.from_numpy(small[rows].copy()).movedim(-1, 0)[None] / 127.5 - 1.0

    tiling = core.Tiling(size=options.tile_size, overlap=options.overlap)
    given = {"seed": options.seed, "steps": options.steps}
    return core.super_resolve_bands(stage, rows_of, small.shape[:2], tiling, **given)


def _pixels(path: Path) -> Any:
    """(h w 3) uint8."""
    import numpy as np
    from PIL import Image

    from imagen_pictures.picture_colours import as_picture
    from imagen_pictures.picture_files import opened

    with opened(path) as file:
        picture = as_picture(file, path.name)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("RGB"))


def _say(options: argparse.Namespace, done: int, of: int) -> None:
    if not options.quiet and sys.stderr.isatty():
        print(f"\r{done:,} of {of:,} rows", end="\n" if done == of else "", file=sys.stderr, flush=True)
